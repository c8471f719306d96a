//! Values by pattern, found by topic.

use std::collections::HashMap;

use replay_store::{Pattern, Topic};

/// A tree of pattern segments. Finding the values of all patterns that match a topic takes time in
/// proportion to the topic's segments and the matching branches, not to the number of patterns.
#[derive(Debug)]
pub(crate) struct Patterns<V> {
    nodes: Vec<Node<V>>,
    /// Places in `nodes` that are free.
    free: Vec<usize>,
    len: usize,
}

#[derive(Debug)]
struct Node<V> {
    value: Option<V>,
    children: HashMap<Box<str>, usize>,
}

const ROOT: usize = 0;

impl<V> Default for Patterns<V> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new()],
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<V> Node<V> {
    fn new() -> Self {
        Self {
            value: None,
            children: HashMap::new(),
        }
    }
}

impl<V> Patterns<V> {
    /// How many patterns have a value.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The value of exactly this pattern, made if there is none.
    pub(crate) fn get_or_insert_with(
        &mut self,
        pattern: &Pattern,
        make: impl FnOnce() -> V,
    ) -> &mut V {
        let mut at = ROOT;
        for segment in pattern.as_str().split('/') {
            at = match self.nodes[at].children.get(segment) {
                Some(child) => *child,
                None => {
                    let child = self.free.pop().unwrap_or_else(|| {
                        self.nodes.push(Node::new());
                        self.nodes.len() - 1
                    });
                    self.nodes[at].children.insert(segment.into(), child);
                    child
                }
            };
        }
        let value = &mut self.nodes[at].value;
        self.len += usize::from(value.is_none());
        value.get_or_insert_with(make)
    }

    /// Calls `visit` with the value of every pattern that matches, each once.
    pub(crate) fn for_each_match(&mut self, topic: &Topic, mut visit: impl FnMut(&mut V)) {
        if self.len == 0 {
            return;
        }
        // The nodes that the segments so far lead to; a `**` is left at once, too, since it may
        // stand for nothing.
        let mut active = Vec::new();
        self.enter(ROOT, &mut active);
        let mut next = Vec::new();
        for segment in topic.as_str().split('/') {
            for &(at, repeats) in &active {
                if repeats {
                    next.push((at, true));
                }
                for wanted in [segment, "*"] {
                    if let Some(child) = self.nodes[at].children.get(wanted) {
                        self.enter(*child, &mut next);
                    }
                }
            }
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut active, &mut next);
            next.clear();
        }
        // A node is entered by its own name, or as the `**` of its parent, never both ways.
        for (at, _) in active {
            if let Some(value) = &mut self.nodes[at].value {
                visit(value);
            }
        }
    }

    /// A node, and those that a `**` leads to without a segment.
    fn enter(&self, mut at: usize, entered: &mut Vec<(usize, bool)>) {
        let mut repeats = false;
        loop {
            entered.push((at, repeats));
            let Some(child) = self.nodes[at].children.get("**") else {
                return;
            };
            (at, repeats) = (*child, true);
        }
    }

    /// Keeps the values that `keep` says to, and forgets the patterns of the others.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.prune(ROOT, &mut keep);
    }

    /// Returns whether anything is left at or below `at`. As deep as the longest pattern has
    /// segments, which is at most 128.
    fn prune(&mut self, at: usize, keep: &mut impl FnMut(&mut V) -> bool) -> bool {
        let mut children = std::mem::take(&mut self.nodes[at].children);
        children.retain(|_, child| {
            let left = self.prune(*child, keep);
            if !left {
                self.free.push(*child);
            }
            left
        });
        let node = &mut self.nodes[at];
        if node.value.as_mut().is_some_and(|value| !keep(value)) {
            node.value = None;
            self.len -= 1;
        }
        let left = node.value.is_some() || !children.is_empty();
        node.children = children;
        left
    }

    /// Calls `visit` with every value.
    pub(crate) fn for_each(&self, visit: impl FnMut(&V)) {
        self.nodes
            .iter()
            .filter_map(|node| node.value.as_ref())
            .for_each(visit);
    }

    /// Calls `visit` with every pattern and its value.
    pub(crate) fn for_each_named(&self, mut visit: impl FnMut(&str, &V)) {
        let mut left = vec![(ROOT, String::new())];
        while let Some((at, name)) = left.pop() {
            let node = &self.nodes[at];
            if let Some(value) = &node.value {
                visit(&name, value);
            }
            for (segment, child) in &node.children {
                let name = if at == ROOT {
                    segment.to_string()
                } else {
                    format!("{name}/{segment}")
                };
                left.push((*child, name));
            }
        }
    }

    /// Takes all values out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = V> + use<V> {
        std::mem::take(self)
            .nodes
            .into_iter()
            .filter_map(|node| node.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("valid")
    }

    fn found(patterns: &mut Patterns<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        let topic = Topic::new(topic).expect("valid");
        patterns.for_each_match(&topic, |value| found.push(value.clone()));
        found.sort();
        found
    }

    fn segments(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(of), 1..5).prop_map(|all| all.join("/"))
    }

    proptest! {
        #[test]
        fn every_match_is_found_once_and_nothing_else(
            kept in prop::collection::btree_set(segments(&["a", "b", "*", "**"]), 0..12),
            gone in prop::collection::btree_set(segments(&["a", "b", "*", "**"]), 0..12),
            topic in segments(&["a", "b"]),
        ) {
            let mut patterns = Patterns::default();
            for text in kept.union(&gone) {
                patterns.get_or_insert_with(&pattern(text), || text.clone());
            }
            patterns.retain(|text| kept.contains(text));
            prop_assert_eq!(patterns.len(), kept.len());
            let name = Topic::new(&topic).expect("valid");
            let expected: Vec<_> = kept
                .iter()
                .filter(|text| pattern(text).matches(&name))
                .cloned()
                .collect();
            prop_assert_eq!(found(&mut patterns, &topic), expected);
        }
    }

    #[test]
    fn what_is_forgotten_leaves_its_place_to_others() {
        let mut patterns = Patterns::default();
        for round in 0..100 {
            let text = format!("a/{round}/**");
            patterns.get_or_insert_with(&pattern(&text), || text.clone());
            patterns.retain(|value| *value == text);
        }
        assert!(patterns.nodes.len() < 10, "{}", patterns.nodes.len());
        assert_eq!(found(&mut patterns, "a/99"), ["a/99/**"]);
        assert_eq!(found(&mut patterns, "a/98"), [""; 0]);
    }
}
