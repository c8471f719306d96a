//! The samples on a page of metrics.

use std::collections::BTreeMap;

use push_server::Hub;

/// The samples of a page, each by its name with labels.
pub(crate) struct Samples(BTreeMap<String, f64>);

impl Samples {
    pub(crate) fn of(hub: &Hub) -> Self {
        Self::read(&hub.metrics().to_prometheus())
    }

    pub(crate) fn read(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    #[track_caller]
    pub(crate) fn check(&self, expected: &[(&str, f64)]) {
        for (name, value) in expected {
            let found = self.0.get(*name).copied();
            assert_eq!(found, Some(*value), "{name} in {:#?}", self.0);
        }
    }

    /// All samples of a family add up to this.
    #[track_caller]
    pub(crate) fn check_sum(&self, family: &str, expected: f64) {
        let samples = self.0.iter();
        let of_family = samples.filter(|(name, _)| name.split('{').next() == Some(family));
        let sum: f64 = of_family.map(|(_, value)| value).sum();
        assert_eq!(sum, expected, "{family} in {:#?}", self.0);
    }
}
