//! The loss curve as an SVG.

use std::fmt::Write;

/// One point of a run's curve.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Number of steps done.
    pub step: u64,
    /// Number of tokens seen.
    pub tokens: u64,
    /// Mean training loss since the point before, in nats per token.
    pub loss: f64,
    /// Held-out loss, in nats per token.
    pub held_out: f64,
    /// Held-out divergence KL(teacher‖student), in nats per token, if there is a live teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// Held-out divergence from a file's targets, in nats per token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_divergence: Option<f64>,
    /// Learning rate.
    pub rate: f64,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Returns a self-contained SVG of training and held-out loss over tokens. The axis starts at 0 tokens. Losses above
/// twice the smallest, which are those of the first steps, run off the top.
pub fn svg(points: &[Point]) -> String {
    let last = points.iter().map(|p| p.tokens).max().unwrap_or(1).max(1) as f64;
    let live = points.iter().any(|p| p.kl.is_some());
    let taught = live || points.iter().any(|p| p.target_divergence.is_some());
    let divergence =
        if live { "KL to the teacher, held out" } else { "divergence from the targets, held out" };
    let losses = || points.iter().flat_map(|p| [p.loss, p.held_out]).filter(|v| v.is_finite());
    let low = losses().fold(f64::INFINITY, f64::min);
    let high = losses().fold(f64::NEG_INFINITY, f64::max);
    // Divergences start at 0, and have another scale than the loss on ids.
    let (low, high) = if taught { (0.0, high) } else { (low, high.min(low * 2.0)) };
    let (low, high) =
        if low < high { ((low * 2.0).floor() / 2.0, (high * 2.0).ceil() / 2.0) } else { (0.0, 1.0) };
    let x = |tokens: f64| LEFT + (WIDTH - LEFT - RIGHT) * tokens / last;
    let y = |loss: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (loss - low) / (high - low);
    let mut out = String::new();
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<clipPath id="plot"><rect x="{LEFT}" y="{TOP}" width="{}" height="{}"/></clipPath>
"##,
        WIDTH - LEFT - RIGHT,
        HEIGHT - TOP - BOTTOM
    );
    let ticks = 5;
    for i in 0..=ticks {
        let share = f64::from(i) / f64::from(ticks);
        let (tokens, loss) = (last * share, low + (high - low) * share);
        let (px, py, bottom) = (x(tokens), y(loss), HEIGHT - BOTTOM);
        let _ = write!(
            out,
            r##"<line x1="{LEFT}" y1="{py:.1}" x2="{}" y2="{py:.1}" stroke="#ddd"/>
<text x="{}" y="{:.1}" text-anchor="end">{loss:.2}</text>
<text x="{px:.1}" y="{}" text-anchor="middle">{:.2}</text>
"##,
            WIDTH - RIGHT,
            LEFT - 6.0,
            py + 4.0,
            bottom + 18.0,
            tokens / 1e6
        );
    }
    let lines = [
        ("training", "#8ab", LEFT + 8.0, (|p| p.loss) as fn(&Point) -> f64),
        ("held out", "#c30", LEFT + 98.0, |p| p.held_out),
        (divergence, "#285", LEFT + 188.0, |p| p.kl.or(p.target_divergence).unwrap_or(f64::NAN)),
    ];
    for (name, color, label, value) in lines.into_iter().take(if taught { 3 } else { 2 }) {
        let line: Vec<String> = points
            .iter()
            .filter(|p| value(p).is_finite())
            .map(|p| format!("{:.1},{:.1}", x(p.tokens as f64), y(value(p))))
            .collect();
        let _ = write!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="1.5" clip-path="url(#plot)"/>
<text x="{label}" y="{}" fill="{color}">{name}</text>
"#,
            line.join(" "),
            TOP - 14.0
        );
    }
    let _ = write!(
        out,
        r#"<text x="{}" y="{}" text-anchor="middle">million tokens</text>
<text x="{}" y="{}" text-anchor="end">loss, nats a token</text>
</svg>
"#,
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 12.0,
        WIDTH - RIGHT,
        TOP - 14.0
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_two_lines_of_finite_points() {
        let point = |step: u64, loss| Point {
            step,
            tokens: step * 1000,
            loss,
            held_out: loss + 0.1,
            kl: None,
            target_divergence: None,
            rate: 0.1,
        };
        let text = svg(&[point(1, 8.0), point(2, 5.0), point(3, f64::NAN), point(4, 4.0)]);
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        let taught = Point { kl: Some(0.4), ..point(5, 3.0) };
        assert_eq!(svg(&[point(1, 8.0), taught]).matches("<polyline").count(), 3);
        let listed = svg(&[Point { target_divergence: Some(0.4), ..point(5, 3.0) }]);
        assert!(listed.contains("divergence from the targets") && !listed.contains("KL"));
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
