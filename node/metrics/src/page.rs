//! What one scrape answers: families of samples, in the text format of OpenMetrics 1.0.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use crate::Histogram;

/// The media type of what [`Page::text`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a metric can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends with `_total`.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// One metric: its name for ever, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name, with its unit, as queries use it.
    pub name: &'static str,
    /// One sentence, without a full stop.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
}

impl Metric {
    /// A counter; `name` ends with `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge }
    }

    /// A histogram.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Histogram }
    }

    /// The name without what the format adds itself, and the unit.
    fn stem(&self) -> (&'static str, Option<Unit>) {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        let unit = units.into_iter().find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)));
        unit.map_or((name, None), |(stem, unit)| (stem, Some(unit)))
    }
}

/// What tells samples of one family apart. Names are fixed; values may be anything: they are escaped when
/// they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Vec<(&'static str, String)>);

impl Labels {
    /// No label.
    pub const NONE: Self = Self(Vec::new());

    /// With one label more.
    #[must_use]
    pub fn with(&self, name: &'static str, value: impl fmt::Display) -> Self {
        let mut labels = self.0.clone();
        labels.push((name, value.to_string()));
        Self(labels)
    }
}

#[derive(Debug)]
enum Value {
    Counter(u64),
    Gauge(f64),
    Histogram { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

/// The samples of one scrape. The order is by name, whatever the order in which they are put in.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<&'static str, Family>);

#[derive(Debug)]
struct Family {
    metric: Metric,
    samples: Vec<(Labels, Value)>,
}

impl Page {
    /// The sample of a counter.
    pub fn counter(&mut self, metric: Metric, labels: &Labels, value: u64) {
        self.put(metric, labels, Value::Counter(value));
    }

    /// The sample of a gauge.
    pub fn gauge(&mut self, metric: Metric, labels: &Labels, value: f64) {
        self.put(metric, labels, Value::Gauge(value));
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, metric: Metric, labels: &Labels, histogram: &Histogram) {
        let (sum, buckets) = (histogram.sum(), histogram.buckets());
        // Of the very buckets that are shown: observations may come in meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.put(metric, labels, Value::Histogram { sum, count, buckets });
    }

    fn put(&mut self, metric: Metric, labels: &Labels, value: Value) {
        let family = self.0.entry(metric.name).or_insert(Family { metric, samples: Vec::new() });
        family.samples.push((labels.clone(), value));
    }

    /// The text of the page, of the type [`CONTENT_TYPE`].
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, samples } in self.0.values() {
            let (stem, unit) = metric.stem();
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(stem, metric.help, unit.as_ref(), kind)?;
            for (labels, value) in samples {
                if labels.0.is_empty() {
                    write(value, &mut family)?;
                } else {
                    write(value, &mut family.encode_family(&labels.0)?)?;
                }
            }
        }
        Ok(())
    }
}

fn write(value: &Value, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match value {
        Value::Counter(value) => encoder.encode_counter::<NoLabelSet, _, f64>(value, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram { sum, count, buckets } => encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Metric = Metric::counter("x_sent_total", "What was sent");
    const READ: Metric = Metric::counter("x_read_bytes_total", "What was read");
    const AGE: Metric = Metric::gauge("x_age_seconds", "How old it is");
    const TIME: Metric = Metric::histogram("x_time_seconds", "How long it took");

    #[test]
    fn families_are_whole_sorted_and_named_as_queries_name_them() {
        let mut page = Page::default();
        let time = Histogram::of_durations(&[1_000]);
        time.observe_number(500);
        page.histogram(TIME, &Labels::NONE, &time);
        for network in ["b", "a"] {
            page.counter(SENT, &Labels::NONE.with("network", network), 3);
            page.gauge(AGE, &Labels::NONE.with("network", network), 1.5);
        }
        page.counter(READ, &Labels::NONE, 7);
        let expected = "\
# HELP x_age_seconds How old it is
# TYPE x_age_seconds gauge
# UNIT x_age_seconds seconds
x_age_seconds{network=\"b\"} 1.5
x_age_seconds{network=\"a\"} 1.5
# HELP x_read_bytes What was read
# TYPE x_read_bytes counter
# UNIT x_read_bytes bytes
x_read_bytes_total 7
# HELP x_sent What was sent
# TYPE x_sent counter
x_sent_total{network=\"b\"} 3
x_sent_total{network=\"a\"} 3
# HELP x_time_seconds How long it took
# TYPE x_time_seconds histogram
# UNIT x_time_seconds seconds
x_time_seconds_sum 0.0005
x_time_seconds_count 1
x_time_seconds_bucket{le=\"0.001\"} 1
x_time_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn a_name_that_looks_like_a_sample_stays_a_label() {
        let mut page = Page::default();
        page.counter(SENT, &Labels::NONE.with("network", "a\"} 1\nx_sent_total{network=\"b\\"), 1);
        let text = page.text();
        let line = r#"x_sent_total{network="a\"} 1\nx_sent_total{network=\"b\\"} 1"#;
        assert_eq!(text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>(), [line]);
    }
}
