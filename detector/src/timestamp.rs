//! Moments in UTC, to the second, as RFC 3339 writes them.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::value::{Datetime, Offset};

const DAY: i64 = 86_400;
/// The first second of the year 0 and the last one of the year 9999: RFC 3339 has no others.
const RANGE: (i64, i64) = (-62_167_219_200, 253_402_300_799);

/// A moment in UTC, to the second. As text and in JSON it is a date-time of RFC 3339, such as `2026-12-01T08:30:00Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// The error for a text that is not a date-time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a date-time with its offset from UTC, such as 2026-12-01T08:30:00Z, found {found:?}")]
pub struct TimestampError {
    found: String,
}

impl Timestamp {
    /// Returns the moment that the system's clock shows.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Returns the moment `seconds` after the start of 1970. Moments outside the years 0 to 9999 become the nearest
    /// moment inside.
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(RANGE.0, RANGE.1))
    }

    /// Returns the seconds since the start of 1970.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Returns the first and the last second of TOML's date-time: of a whole day, or twice the same second. Returns
    /// `None` for a time without a date, and for a time without its offset from UTC.
    pub(crate) fn first_and_last(datetime: &Datetime) -> Option<(Self, Self)> {
        let date = datetime.date?;
        let midnight = days(i64::from(date.year), i64::from(date.month), i64::from(date.day)) * DAY;
        let Some(time) = datetime.time else {
            return Some((Self::from_unix(midnight), Self::from_unix(midnight + DAY - 1)));
        };
        let offset = match datetime.offset? {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes) * 60,
        };
        let second = i64::from(time.second.unwrap_or(0));
        let moment = midnight + i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + second - offset;
        Some((Self::from_unix(moment), Self::from_unix(moment)))
    }
}

/// Converts a system time, without the fraction of the second.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                -whole - i64::from(before.subsec_nanos() > 0)
            }
        };
        Self::from_unix(seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let datetime = text.parse::<Datetime>().ok().filter(|datetime| datetime.time.is_some());
        let moment = datetime.as_ref().and_then(Self::first_and_last);
        moment.map(|(moment, _)| moment).ok_or_else(|| TimestampError { found: text.to_owned() })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the days from the start of 1970 to a date of the Gregorian calendar. A year begins in March here, so that
/// the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns the date that is `days` days after the start of 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (text, unix, written) in [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
            ("2001-09-09T01:46:40Z", 1_000_000_000, "2001-09-09T01:46:40Z"),
            ("2024-02-29T23:59:59.9+01:00", 1_709_247_599, "2024-02-29T22:59:59Z"),
            ("1969-12-31T23:59:59-00:30", 1_799, "1970-01-01T00:29:59Z"),
            ("9999-12-31T23:59:59Z", RANGE.1, "9999-12-31T23:59:59Z"),
            ("0000-01-01T00:00:00Z", RANGE.0, "0000-01-01T00:00:00Z"),
        ] {
            let moment: Timestamp = text.parse().unwrap();
            assert_eq!((moment.unix(), moment.to_string().as_str()), (unix, written), "{text}");
        }
        for text in ["", "2026-12-01", "08:30:00", "2026-12-01T08:30:00", "2026-02-29T00:00:00Z", "now"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_is_its_own_date() {
        let mut next = RANGE.0 / DAY;
        let months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for year in 0..10_000 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, len) in (1..).zip(months) {
                for day in 1..=len + i64::from(leap && month == 2) {
                    assert_eq!((days(year, month, day), civil(next)), (next, (year, month, day)));
                    next += 1;
                }
            }
        }
        assert_eq!(next, RANGE.1 / DAY + 1);
    }
}
