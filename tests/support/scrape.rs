//! What a process tells a monitor: asked for as Prometheus does, and read by a reader that accepts nothing that the
//! format (OpenMetrics 1.0) does not allow.

use std::collections::{BTreeMap, BTreeSet};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    Process,
    wait::{ensure, eventually, secs},
};

/// Where a process says it serves metrics: `HOST:PORT`.
pub(crate) async fn address(process: &Process) -> String {
    eventually(secs(30), "the address of the metrics", async || {
        let log = process.log();
        let told = log.lines().find_map(|line| line.split_once("serving metrics url=http://"));
        let address = told.and_then(|(_, url)| url.strip_suffix("/metrics"));
        address.map(str::to_owned).ok_or(log)
    })
    .await
}

/// Sends `request` and reads the whole answer: status line and headers, and body.
pub(crate) async fn http(address: &str, request: &str) -> (String, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers with text");
        answer
    };
    let answer = timeout(secs(30), exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").expect("headers end");
    (head.to_owned(), body.to_owned())
}

/// One answer to `GET /metrics`.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// Family to type.
    families: BTreeMap<String, String>,
    /// Sample, with its labels as written, to value.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Asks for it.
    pub(crate) async fn of(address: &str) -> Self {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let (head, body) = http(address, &request).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        Self::read(&body).unwrap_or_else(|error| panic!("{error} in\n{body}"))
    }

    /// The sum of all samples of this name whose labels contain all of `labels` (`way="direct"`); an error if there is
    /// none (yet).
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> Result<f64, String> {
        let of_name = |sample: &str| sample.split('{').next() == Some(name);
        let found: Vec<f64> = self
            .samples
            .iter()
            .filter(|(sample, _)| of_name(sample) && labels.iter().all(|label| sample.contains(label)))
            .map(|(_, value)| *value)
            .collect();
        ensure(!found.is_empty(), || format!("there is no sample {name} with {labels:?}"))?;
        Ok(found.iter().sum())
    }

    /// That this sum is `expected`.
    pub(crate) fn is(&self, expected: f64, name: &str, labels: &[&str]) -> Result<(), String> {
        let sum = self.sum(name, labels)?;
        ensure(sum == expected, || format!("{name} with {labels:?}: {sum} instead of {expected}"))
    }

    /// That this sum is `least` or more.
    pub(crate) fn is_at_least(&self, least: f64, name: &str, labels: &[&str]) -> Result<(), String> {
        let sum = self.sum(name, labels)?;
        ensure(sum >= least, || format!("{name} with {labels:?}: {sum}, not {least} or more"))
    }

    /// The names by which queries know what is exported: counters with `_total`, histograms without their suffixes.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let name = |(family, kind): (&String, &String)| match kind.as_str() {
            "counter" => format!("{family}_total"),
            _ => family.clone(),
        };
        self.families.iter().map(name).collect()
    }

    fn read(body: &str) -> Result<Self, String> {
        let mut scrape = Self::default();
        let (mut helped, mut current) = (None, String::new());
        let text = body.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["#", "HELP", name, help] if !help.is_empty() => helped = Some((*name).to_owned()),
                ["#", "TYPE", name, kind] => {
                    let is_new = !scrape.families.contains_key(*name) && helped.as_deref() == Some(name);
                    let is_known = ["counter", "gauge", "histogram"].contains(kind);
                    if !is_new || !is_known {
                        return Err(format!("bad TYPE: {line}"));
                    }
                    scrape.families.insert((*name).to_owned(), (*kind).to_owned());
                    current = (*name).to_owned();
                }
                ["#", "UNIT", name, unit] if *name == current && name.ends_with(&format!("_{unit}")) => {}
                ["#", ..] => return Err(format!("bad comment: {line}")),
                _ => scrape.sample(line, &current)?,
            }
        }
        scrape.check_histograms()?;
        Ok(scrape)
    }

    fn sample(&mut self, line: &str, family: &str) -> Result<(), String> {
        let bad = |what: &str| format!("{what}: {line}");
        let (sample, value) = line.rsplit_once(' ').ok_or_else(|| bad("no value"))?;
        let value: f64 = value.parse().map_err(|_| bad("not a number"))?;
        let (name, labels) = match sample.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').ok_or_else(|| bad("labels without an end"))?),
            None => (sample, ""),
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let suffixes: &[&str] = match self.families.get(family).map(String::as_str) {
            Some("counter") => &["_total"],
            Some("gauge") => &[""],
            Some("histogram") => &["_sum", "_count", "_bucket"],
            _ => return Err(bad("no TYPE before it")),
        };
        let suffix = name.strip_prefix(family).ok_or_else(|| bad("in the midst of another family"))?;
        if !is_name(name) || !suffixes.contains(&suffix) || value < 0.0 || !value.is_finite() {
            return Err(bad("not a sample of its family"));
        }
        check_labels(labels).map_err(|error| bad(&error))?;
        match self.samples.insert(sample.to_owned(), value) {
            Some(_) => Err(bad("twice")),
            None => Ok(()),
        }
    }

    /// Buckets never shrink, and the last one has everything.
    fn check_histograms(&self) -> Result<(), String> {
        for (family, _) in self.families.iter().filter(|(_, kind)| *kind == "histogram") {
            let prefix = format!("{family}_bucket{{");
            let mut series = BTreeMap::<String, Vec<(f64, f64)>>::new();
            for (sample, value) in self.samples.iter().filter(|(sample, _)| sample.starts_with(&prefix)) {
                let (before, rest) = sample.split_once("le=\"").ok_or_else(|| format!("no le: {sample}"))?;
                let (bound, after) = rest.split_once('"').ok_or_else(|| format!("no end of le: {sample}"))?;
                let bound = bound.replace("+Inf", "inf").parse().map_err(|_| format!("bad le: {sample}"))?;
                let labels = format!("{before}{}", after.trim_start_matches(','));
                let count = labels.replacen("_bucket{", "_count{", 1).replace("{}", "");
                series.entry(count).or_default().push((bound, *value));
            }
            for (count, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let grows = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
                let last = buckets.last().copied();
                if !grows || last != self.samples.get(&count).map(|count| (f64::INFINITY, *count)) {
                    return Err(format!("the buckets of {count} do not add up: {buckets:?}"));
                }
            }
        }
        Ok(())
    }
}

/// `name="value",name="value"` with the escapes of the format, each name once.
fn check_labels(mut labels: &str) -> Result<(), String> {
    let mut names = BTreeSet::new();
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").ok_or("a label without a value")?;
        if !names.insert(name) || !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return Err(format!("bad label {name}"));
        }
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().ok_or("a value without an end")? {
                (at, '"') => break at,
                (_, '\\') if matches!(chars.next(), Some((_, '\\' | '"' | 'n'))) => {}
                (_, '\\') => return Err("an unknown escape".to_owned()),
                _ => {}
            }
        };
        labels = &rest[end + 1..];
        labels = labels.strip_prefix(',').unwrap_or(labels);
    }
    Ok(())
}
