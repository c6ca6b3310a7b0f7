//! What a question costs, and who can still pay.
//!
//! People who want to remove or forge a mark ask about many near-copies of one text, and keep those whose answer
//! changes. So a question is charged by what it shares with the recent questions of the same account:
//!
//! - The same text again, to the byte, costs nothing: the answer is the same.
//! - Any other text costs 1 query for each started block of [`TOKENS_A_QUERY`] tokens, since these take the time.
//! - Each context that occurs in the recent texts adds [`KNOWN`], up to [`NEAR_COPY`]. If more than half of the
//!   contexts occur there, [`NEAR_COPY`] is added. Contexts are hashed windows of 5 tokens, each counted once.
//!
//! Known contexts are counted, and not only their share, since filler lowers a share. Texts that fill the memory, to
//! make it forget, cost more than a near-copy.
//!
//! An account has `queries_per_day`. Spent queries come back evenly over a day. A question that cannot be paid is
//! refused and costs nothing. If less than 1 query is left, it is refused before the text is cut into tokens.
//!
//! "Recent" are the last [`TEXTS`] texts, and fewer if they have more than [`CONTEXTS`] contexts. In a long text those
//! [`CONTEXTS_A_TEXT`] contexts count whose hashes are least, so two copies of it count the same ones. Each address
//! without a token has its own budget. But all of them share one memory of recent texts, so changing the address does
//! not help. A text that another address has asked about, to the byte, costs as much as a new one. If it were free or
//! a near-copy, its price would tell that somebody else has it. By the price of a near-copy, somebody who knows most of
//! a text can still find out that it was asked about lately, but not by whom.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::credentials::{Account, Credential};

/// The most that known contexts add to the cost of a text.
const NEAR_COPY: f64 = 19.0;
/// What a known context adds.
const KNOWN: f64 = 0.1;
/// Number of tokens that a query pays for.
const TOKENS_A_QUERY: usize = 1 << 12;
/// The least that a text costs if it is not free.
const LEAST: f64 = 1.0;
/// Number of tokens in a context.
const WINDOW: usize = 5;
/// Number of texts that an account remembers.
const TEXTS: usize = 256;
/// Number of contexts that an account remembers, at about 30 bytes each.
const CONTEXTS: usize = 1 << 18;
/// Number of contexts that are kept of one text.
const CONTEXTS_A_TEXT: usize = 1 << 16;
/// Number of client addresses that are remembered.
const CLIENTS: usize = 1 << 16;

const DAY: f64 = 86_400.0;

/// SHA-256 of a text.
pub(super) type TextHash = [u8; 32];

/// The budgets of everybody.
pub(super) struct Budgets {
    /// One for each credential; `None` for a credential that may ask as often as it likes.
    credentials: Vec<Option<Mutex<Ledger>>>,
    clients: Mutex<Clients>,
    hasher: RandomState,
}

struct Ledger {
    purse: Purse,
    per_day: f64,
    recent: Recent,
}

struct Clients {
    purses: HashMap<IpAddr, Purse>,
    /// The shared budget of clients for which there is no more room.
    others: Purse,
    per_day: f64,
    recent: Recent,
}

/// The rest of a budget at a moment.
#[derive(Clone, Copy)]
struct Purse {
    left: f64,
    at: Instant,
}

impl Purse {
    /// Spends `cost`, at most the budget of a day.
    ///
    /// # Errors
    /// Returns an error if the rest is too small: the seconds until it can be paid.
    fn spend(&mut self, cost: f64, per_day: f64, now: Instant) -> Result<(), u32> {
        let cost = cost.min(per_day);
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * per_day / DAY).min(per_day);
        self.at = now;
        if self.left < cost {
            return Err(((cost - self.left) * DAY / per_day).ceil() as u32);
        }
        self.left -= cost;
        Ok(())
    }

    /// Checks that a text can be paid at all, and spends nothing.
    ///
    /// # Errors
    /// Returns an error if the rest is too small: the seconds until it is not.
    fn check(mut self, per_day: f64, now: Instant) -> Result<(), u32> {
        self.spend(LEAST, per_day, now)
    }
}

/// A text that is asked about, as it is remembered.
struct Asked {
    text: TextHash,
    /// The client that asks; `None` if the memory is of one credential.
    client: Option<IpAddr>,
    /// Number of tokens of the text.
    tokens: usize,
    /// The hashes of its contexts.
    contexts: Vec<u64>,
}

/// The recent texts of an account.
#[derive(Default)]
struct Recent {
    /// The texts, oldest first.
    texts: VecDeque<Asked>,
    /// In how many of the texts a context occurs.
    contexts: HashMap<u64, u32>,
    /// Number of contexts of all texts, each as often as it occurs.
    len: usize,
}

impl Recent {
    /// Returns whether this client, or the credential whose memory it is, has asked about the text.
    fn is_repeat(&self, text: &TextHash, client: Option<IpAddr>) -> bool {
        self.texts.iter().any(|asked| asked.text == *text && asked.client == client)
    }

    /// Returns what a text costs that is not free.
    fn cost(&self, asked: &Asked) -> f64 {
        let size = (asked.tokens.div_ceil(TOKENS_A_QUERY) as f64).max(LEAST);
        // The answer that somebody else had says no more than that to a new text.
        if self.texts.iter().any(|other| other.text == asked.text) {
            return size;
        }
        let contexts = &asked.contexts;
        let known = contexts.iter().filter(|context| self.contexts.contains_key(context)).count();
        let is_copy = 2 * known > contexts.len();
        size + if is_copy { NEAR_COPY } else { (KNOWN * known as f64).min(NEAR_COPY) }
    }

    fn add(&mut self, asked: Asked) {
        self.len += asked.contexts.len();
        for &context in &asked.contexts {
            *self.contexts.entry(context).or_default() += 1;
        }
        self.texts.push_back(asked);
        while self.texts.len() > TEXTS || self.len > CONTEXTS {
            let Some(Asked { contexts, .. }) = self.texts.pop_front() else { return };
            self.len -= contexts.len();
            for context in contexts {
                if let Some(count) = self.contexts.get_mut(&context) {
                    *count -= 1;
                    if *count == 0 {
                        self.contexts.remove(&context);
                    }
                }
            }
        }
    }
}

impl Budgets {
    /// Makes full budgets for each credential, and of `per_client` texts a day for each client without a token.
    pub(super) fn new(credentials: &[Credential], per_client: u32) -> Self {
        let now = Instant::now();
        let full = |per_day| Purse { left: per_day, at: now };
        let ledger = |credential: &Credential| {
            let per_day = f64::from(credential.queries_per_day?);
            Some(Mutex::new(Ledger { purse: full(per_day), per_day, recent: Recent::default() }))
        };
        let per_day = f64::from(per_client);
        let clients =
            Clients { purses: HashMap::new(), others: full(per_day), per_day, recent: Recent::default() };
        Self {
            credentials: credentials.iter().map(ledger).collect(),
            clients: Mutex::new(clients),
            hasher: RandomState::new(),
        }
    }

    /// Returns whether an account may ask as often as it likes.
    pub(super) fn is_free(&self, account: Account) -> bool {
        match account {
            Account::Open => true,
            Account::Credential(number) => self.credentials.get(number).is_none_or(Option::is_none),
            Account::Client(_) => false,
        }
    }

    /// Charges a question to an account. `tokens` is called only if the tokens of the text are needed.
    ///
    /// # Errors
    /// Returns an error if the question cannot be paid, or if `tokens` does. The first is the seconds until it can be
    /// paid, or until the text is looked at.
    pub(super) fn charge<E>(
        &self,
        account: Account,
        text: TextHash,
        now: Instant,
        tokens: impl FnOnce() -> Result<Vec<u32>, E>,
    ) -> Result<Result<(), u32>, E> {
        match account {
            Account::Open => Ok(Ok(())),
            Account::Credential(number) => {
                let Some(Some(ledger)) = self.credentials.get(number) else { return Ok(Ok(())) };
                {
                    let Ledger { purse, per_day, recent } = &*lock(ledger);
                    if recent.is_repeat(&text, None) {
                        return Ok(Ok(()));
                    }
                    if let Err(seconds) = purse.check(*per_day, now) {
                        return Ok(Err(seconds));
                    }
                }
                let asked = self.asked(text, None, &tokens()?);
                let Ledger { purse, per_day, recent } = &mut *lock(ledger);
                Ok(pay(purse, *per_day, recent, asked, now))
            }
            Account::Client(address) => {
                {
                    let clients = &mut *lock(&self.clients);
                    if clients.recent.is_repeat(&text, Some(address)) {
                        return Ok(Ok(()));
                    }
                    clients.make_room(now);
                    let (purse, per_day, _) = clients.of(address, now);
                    if let Err(seconds) = purse.check(per_day, now) {
                        return Ok(Err(seconds));
                    }
                }
                let asked = self.asked(text, Some(address), &tokens()?);
                let clients = &mut *lock(&self.clients);
                let (purse, per_day, recent) = clients.of(address, now);
                Ok(pay(purse, per_day, recent, asked, now))
            }
        }
    }

    fn asked(&self, text: TextHash, client: Option<IpAddr>, tokens: &[u32]) -> Asked {
        Asked { text, client, tokens: tokens.len(), contexts: self.contexts(tokens) }
    }

    /// Returns the hashes of the different contexts of a text. A text that is shorter than a context is one context.
    fn contexts(&self, tokens: &[u32]) -> Vec<u64> {
        let window = WINDOW.min(tokens.len()).max(1);
        let mut contexts: Vec<u64> =
            tokens.windows(window).map(|window| self.hasher.hash_one(window)).collect();
        contexts.sort_unstable();
        contexts.dedup();
        contexts.truncate(CONTEXTS_A_TEXT);
        contexts.shrink_to_fit();
        contexts
    }
}

impl Clients {
    /// Returns the budget of a client, that of a day, and the texts that all clients have asked about.
    fn of(&mut self, address: IpAddr, now: Instant) -> (&mut Purse, f64, &mut Recent) {
        let Self { purses, others, per_day, recent } = self;
        let has_room = purses.len() < CLIENTS || purses.contains_key(&address);
        let full = Purse { left: *per_day, at: now };
        let purse = if has_room { purses.entry(address).or_insert(full) } else { others };
        (purse, *per_day, recent)
    }

    /// Forgets clients that have spent nothing lately, if there are too many.
    fn make_room(&mut self, now: Instant) {
        if self.purses.len() < CLIENTS {
            return;
        }
        let per_day = self.per_day;
        self.purses.retain(|_, purse| {
            let since = now.saturating_duration_since(purse.at).as_secs_f64();
            purse.left + since * per_day / DAY < per_day
        });
    }
}

fn pay(purse: &mut Purse, per_day: f64, recent: &mut Recent, asked: Asked, now: Instant) -> Result<(), u32> {
    // If a text is asked about twice at once, the other question has paid.
    if recent.is_repeat(&asked.text, asked.client) {
        return Ok(());
    }
    purse.spend(recent.cost(&asked), per_day, now)?;
    recent.add(asked);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    struct Test(Budgets, Instant);

    impl Test {
        /// Makes budgets of 50 texts a day for each client.
        fn new() -> Self {
            Self(Budgets::new(&[], 50), Instant::now())
        }

        fn ask(&self, client: u8, tokens: &[u32], after: u64) -> Result<(), u32> {
            let hash = hash(tokens);
            let account = Account::Client([10, 0, 0, client].into());
            let now = self.1 + Duration::from_secs(after);
            self.0.charge(account, hash, now, || Ok::<_, Infallible>(tokens.to_vec())).unwrap()
        }
    }

    fn hash(tokens: &[u32]) -> TextHash {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        <sha2::Sha256 as sha2::Digest>::digest(&bytes).into()
    }

    fn text(seed: u32) -> Vec<u32> {
        (0..300).map(|i| seed * 1000 + i).collect()
    }

    /// A text with these contexts and as many tokens.
    fn asked(text: u8, contexts: Vec<u64>) -> Asked {
        Asked { text: [text; 32], client: None, tokens: contexts.len(), contexts }
    }

    #[test]
    fn what_is_known_has_its_price_whatever_stands_around_it() {
        let mut recent = Recent::default();
        let contexts = |from: u64, to: u64| (from..to).collect::<Vec<_>>();
        recent.add(asked(0, contexts(0, 200)));
        let cost = |contexts: Vec<u64>| recent.cost(&asked(1, contexts));
        assert_eq!(cost(contexts(1000, 1300)), 1.0);
        assert_eq!(cost(contexts(150, 250)), 6.0);
        assert_eq!(cost(contexts(150, 249)), 20.0);
        // Filler does not help, and a text that fills the memory costs more than a near-copy.
        assert_eq!(cost([contexts(0, 200), contexts(1000, 3000)].concat()), 20.0);
        let fill = (CONTEXTS / CONTEXTS_A_TEXT) as u64;
        let of_fill = |i| cost(contexts((10 + i) << 16, (11 + i) << 16));
        assert!((0..fill).map(of_fill).sum::<f64>() > NEAR_COPY + 1.0);
    }

    #[test]
    fn a_long_text_has_its_price_however_often_it_repeats_itself() {
        let budgets = Budgets::new(&[], 1);
        let asked = budgets.asked([0; 32], None, &vec![7; 1_000_000]);
        assert_eq!((asked.contexts.len(), Recent::default().cost(&asked)), (1, 245.0));
    }

    #[test]
    fn what_a_text_costs_does_not_tell_whether_another_client_has_it_to_the_byte() {
        let test = Test::new();
        test.ask(9, &text(0), 0).unwrap();
        for i in 1..=49 {
            test.ask(8, &text(i), 0).unwrap();
        }
        // One query is left. It pays for the other's text as for any other, and then nothing is left for either.
        test.ask(8, &text(0), 0).unwrap();
        test.ask(7, &text(0), 0).unwrap();
        for i in 51..=99 {
            test.ask(7, &text(i), 0).unwrap();
        }
        test.ask(9, &text(200), 0).unwrap();
        for client in [7, 8] {
            assert!(test.ask(client, &text(200), 0).is_err());
            assert_eq!(test.ask(client, &text(200), 0), test.ask(client, &text(201), 0));
        }
        // Their own texts are free.
        test.ask(8, &text(0), 0).unwrap();
        test.ask(7, &text(0), 0).unwrap();
    }

    #[test]
    fn a_text_is_not_cut_into_tokens_if_nothing_is_left() {
        let test = Test::new();
        for i in 0..50 {
            test.ask(1, &text(i), 0).unwrap();
        }
        let account = Account::Client([10, 0, 0, 1].into());
        let unread = || -> Result<Vec<u32>, Infallible> { unreachable!("the budget is spent") };
        let refused = test.0.charge(account, hash(&text(50)), test.1, unread).unwrap();
        assert_eq!(refused, Err((DAY / 50.0).ceil() as u32));
        test.0.charge(account, hash(&text(0)), test.1, unread).unwrap().unwrap();
    }

    #[test]
    fn near_copies_cost_twenty_times_as_much_and_the_same_text_nothing() {
        let test = Test::new();
        let mut copy = text(0);
        test.ask(1, &copy, 0).unwrap();
        for (change, at) in [1000, 2000, 3000].into_iter().zip([10, 50, 90]) {
            copy[at] = change;
            // 49 queries are left after the first text: two copies can be paid, the third in half a day.
            let expected = if at == 90 { Err((11.0 * DAY / 50.0) as u32) } else { Ok(()) };
            assert_eq!(test.ask(1, &copy, 0), expected, "{at}");
        }
        for _ in 0..100 {
            test.ask(1, &text(0), 0).unwrap();
        }
        // Another address is another budget, with the same memory.
        test.ask(2, &copy, 0).unwrap();
        let left = (0..100).take_while(|&i| test.ask(2, &text(10 + i), 0).is_ok()).count();
        assert_eq!(left, 30);
        // Spent queries come back.
        test.ask(2, &text(90), 2000).unwrap();
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for i in 0..1000_u64 {
            let contexts: Vec<u64> = (0..2000).map(|j| i * 1500 + j).collect();
            recent.add(asked((i % 251) as u8, contexts));
            assert!(recent.texts.len() <= TEXTS && recent.contexts.len() <= recent.len);
            assert!(recent.len <= CONTEXTS);
        }
        // A text that takes all the room drives out the others.
        recent.add(asked(255, vec![0; CONTEXTS]));
        assert_eq!((recent.texts.len(), recent.contexts.len()), (1, 1));
        let budgets = Budgets::new(&[], 1);
        let long: Vec<u32> = (0..1_000_000).collect();
        assert_eq!(budgets.contexts(&long).len(), CONTEXTS_A_TEXT);
        assert_eq!((budgets.contexts(&[]).len(), budgets.contexts(&[1, 2]).len()), (0, 1));
    }
}
