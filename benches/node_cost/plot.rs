//! Bars, as a picture that can be read on light and on dark pages.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 250.0;
const VALUES: f64 = 60.0;
const HEAD: f64 = 34.0;
const ROW: f64 = 28.0;

/// One horizontal bar for each, the longest as wide as the chart. The texts are constants without XML's special
/// characters.
pub(crate) fn bars(title: &str, bars: &[(&str, f64)]) -> String {
    let longest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut rows = String::new();
    let mut top = HEAD;
    for (label, value) in bars {
        let width = value / longest * (WIDTH - LABELS - VALUES);
        let (middle, behind) = (top + ROW / 2.0, LABELS + width + 6.0);
        let row = format!(
            "<text x='{:.0}' y='{middle:.0}' text-anchor='end'>{label}</text>\
             <rect x='{LABELS:.0}' y='{:.0}' width='{width:.1}' height='{:.0}'/>\
             <text x='{behind:.1}' y='{middle:.0}'>{value:.2}</text>",
            LABELS - 8.0,
            top + 5.0,
            ROW - 10.0,
        );
        let _ = writeln!(rows, "{row}");
        top += ROW;
    }
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH:.0} {:.0}' role='img' aria-label='{title}'>\n\
         <style>\n\
         text {{ font: 13px sans-serif; fill: #1f2328; dominant-baseline: middle }}\n\
         .title {{ font-weight: bold }}\n\
         rect {{ fill: #2f6fab }}\n\
         .page {{ fill: #ffffff }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         text {{ fill: #e6edf3 }} rect {{ fill: #6cb0f0 }} .page {{ fill: #0d1117 }}\n\
         }}\n\
         </style>\n\
         <rect class='page' width='100%' height='100%' rx='6'/>\n\
         <text class='title' x='8' y='18'>{title}</text>\n{rows}</svg>\n",
        top + 8.0,
    )
}
