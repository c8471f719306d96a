//! The text formats of Prometheus (0.0.4) and OpenMetrics (1.0).

use std::fmt::{Display, Write as _};

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page of metrics being written, one family after another.
pub(crate) struct Text {
    format: Format,
    family: &'static str,
    out: String,
}

impl Text {
    pub(crate) const fn new(format: Format) -> Self {
        Self {
            format,
            family: "",
            out: String::new(),
        }
    }

    /// Begins a family; its samples follow. The name of a counter ends in `_total`. `help` is one
    /// line without a backslash or quote.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        self.family = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // OpenMetrics names the family of a counter without the suffix of its samples.
        let name = match self.format {
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Format::Prometheus => name,
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        self
    }

    pub(crate) fn value(&mut self, value: impl Display) -> &mut Self {
        self.sample("", &[], value)
    }

    pub(crate) fn sample(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) -> &mut Self {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let value = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            self.write(format_args!("{before}{name}=\"{value}\""));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.line(format_args!(" {value}"));
        self
    }

    /// The text, with the end that its format wants.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.out
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.write(line);
        self.out.push('\n');
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        let _infallible = self.out.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, expected: &str) {
        let mut text = Text::new(format);
        text.family("a_total", Kind::Counter, "Things.").sample(
            "",
            &[("b", "x\\\"\n"), ("c", "")],
            1,
        );
        text.family("g", Kind::Gauge, "More.").value(0.5);
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn both_formats() {
        check(
            Format::Prometheus,
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"x\\\\\\\"\\n\",c=\"\"} 1\n\
             # HELP g More.\n# TYPE g gauge\ng 0.5\n",
        );
        check(
            Format::OpenMetrics,
            "# HELP a Things.\n# TYPE a counter\na_total{b=\"x\\\\\\\"\\n\",c=\"\"} 1\n\
             # HELP g More.\n# TYPE g gauge\ng 0.5\n# EOF\n",
        );
    }
}
