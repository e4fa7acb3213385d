//! The evidence as one HTML page: inline styles and plots, no script, no request, readable on a phone and in the dark.
//!
//! Invariant: every text passes through [`escaped`] on its way into the page.

use std::fmt::Write as _;

use footplate_core::moment::in_words;
use footplate_core::verdict::finding::Basis;

use super::plot::{self, Plot};
use super::text::{basis, request, standing};
use super::{Shown, number, p_value};

const STYLE: &str = include_str!("page.css");

/// Renders the whole page.
pub fn render(shown: &Shown) -> String {
    let mut page = String::new();
    let subject = &shown.subject;
    let title = format!("{}: {} beside {}", subject.title, subject.canary, subject.baseline);
    let parts = [
        head(&title, shown),
        summary(shown),
        counts(shown),
        figure(
            "Evidence, as a part of what is enough",
            &["it is worse", "it is not worse"],
            &plot::evidence(shown),
            shown,
            &|value| format!("{}%", number(value * 100.0)),
        ),
        courses(shown),
        power(shown),
        samples(shown),
    ];
    for part in parts {
        page.push_str(&part);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn head(title: &str, shown: &Shown) -> String {
    let title = escaped(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        shown.word()
    )
}

fn summary(shown: &Shown) -> String {
    let class = shown.word().replace(' ', "-");
    let capital = shown.word()[..1].to_uppercase() + &shown.word()[1..];
    let line = |what: &str, said: &Option<String>| {
        said.as_deref().map_or(String::new(), |said| format!("<p>{what}: {}</p>\n", code(said)))
    };
    let said_then = line("At the end its judge said", &shown.subject.said_then);
    let ended = line("What became of it", &shown.subject.ended);
    format!(
        "<p class=\"verdict {class}\"><strong>{capital}</strong> after {}, by {} readings</p>\n<p>{}</p>\n{said_then}{ended}",
        escaped(&in_words(shown.lasted)),
        shown.readings,
        code(&shown.verdict.sentence)
    )
}

fn counts(shown: &Shown) -> String {
    let mut rows = String::new();
    for (name, kpi) in &shown.verdict.kpis {
        let [canary, baseline, times] = basis(&kpi.basis);
        let word = standing(kpi.standing);
        let cells = [canary, baseline, times, p_value(kpi.p_value)]
            .map(|cell| format!("<td>{}</td>", escaped(&cell)));
        rows += &format!(
            "<tr><th scope=\"row\">{}</th><td class=\"{}\">{word}</td>{}</tr>\n",
            escaped(name.as_str()),
            word.replace(' ', "-"),
            cells.concat()
        );
    }
    let sentences = shown.verdict.kpis.values().map(|kpi| format!("<li>{}</li>\n", code(&kpi.sentence)));
    format!(
        "<h2>KPIs</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>KPI</th><th>stands</th><th>canary</th><th>baseline</th>\
         <th>times as often</th><th>p</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n<ul>\n{}</ul>\n",
        sentences.collect::<String>()
    )
}

fn courses(shown: &Shown) -> String {
    let mut parts = String::new();
    let names = [shown.subject.canary.as_str(), shown.subject.baseline.as_str()];
    for (name, pieces) in &shown.courses {
        let is_part =
            shown.verdict.kpis.get(name).is_some_and(|kpi| matches!(kpi.basis, Basis::Events { .. }));
        let label = |value: f64| if is_part { format!("{}%", number(value * 100.0)) } else { number(value) };
        let title = if is_part { format!("{name}: part of the requests") } else { name.to_string() };
        parts += &figure(&title, &names, &plot::course(shown, pieces), shown, &label);
    }
    parts
}

/// Draws one plot. Numbers stand beside it as text, so that they stay readable however small it is.
fn figure(title: &str, names: &[&str], plot: &Plot, shown: &Shown, label: &dyn Fn(f64) -> String) -> String {
    let mut lines = String::new();
    if let Some(level) = plot.level {
        let y = height(level);
        lines += &format!("<line class=\"level\" x1=\"0\" y1=\"{y}\" x2=\"1000\" y2=\"{y}\"/>\n");
    }
    // The first line is the canary's: it is drawn last, so that nothing hides it.
    for (index, line) in plot.lines.iter().enumerate().rev() {
        for piece in line.split(|point| point.is_none()) {
            let points: Vec<String> =
                piece.iter().flatten().map(|(x, y)| format!("{:.1},{}", x * 1000.0, height(*y))).collect();
            lines += &match points.len() {
                0 => String::new(),
                // A single point has no line: it is drawn as a short one.
                1 => format!("<polyline class=\"line{index}\" points=\"{0} {0}\"/>\n", points[0]),
                _ => format!("<polyline class=\"line{index}\" points=\"{}\"/>\n", points.join(" ")),
            };
        }
    }
    let keys = names
        .iter()
        .enumerate()
        .map(|(index, name)| format!("<span><i class=\"key{index}\"></i>{}</span> ", escaped(name)));
    let level =
        plot.level.map_or(String::new(), |_| "<span><i class=\"key-level\"></i>enough</span>".to_owned());
    format!(
        "<figure>\n<figcaption>{}<br>{}{level}</figcaption>\n<div class=\"plot\">\n<div class=\"y\"><span>{}</span><span>{}</span></div>\n\
         <svg viewBox=\"0 0 1000 300\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">\n{lines}</svg>\n\
         <div class=\"x\"><span>0 s</span><span>{}</span></div>\n</div>\n</figure>\n",
        escaped(title),
        keys.collect::<String>(),
        escaped(&label(plot.range.1)),
        escaped(&label(plot.range.0)),
        escaped(title),
        escaped(&in_words(shown.verdict.at.since(shown.began))),
    )
}

fn height(up: f64) -> String {
    format!("{:.1}", (1.0 - up) * 300.0)
}

fn power(shown: &Shown) -> String {
    let items: String =
        shown.power.iter().map(|sentence| format!("<li>{}</li>\n", escaped(sentence))).collect();
    if items.is_empty() {
        items
    } else {
        format!("<h2>What such traffic can show</h2>\n<ul>\n{items}</ul>\n")
    }
}

fn samples(shown: &Shown) -> String {
    if shown.samples.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for sample in &shown.samples {
        let cells = request(shown, sample).into_iter().map(|cell| format!("<td>{}</td>", escaped(&cell)));
        let _ = writeln!(rows, "<tr>{}</tr>", cells.collect::<String>());
    }
    format!(
        "<h2>Requests that went wrong</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>after</th><th>release</th><th>request</th>\
         <th>end</th><th>took</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// Escapes a sentence, and sets what stands between backquotes as code.
fn code(sentence: &str) -> String {
    let parts = sentence.split('`').enumerate();
    parts
        .map(|(index, part)| match index % 2 {
            0 => escaped(part),
            _ => format!("<code>{}</code>", escaped(part)),
        })
        .collect()
}

/// Returns text that means nothing but itself in HTML, in an attribute as well; control characters become visible.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    safe
}
