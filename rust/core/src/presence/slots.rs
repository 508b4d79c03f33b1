//! Newest-wins slots: a queue in which a key stands once.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// A queue of values by key. Putting a key that waits already replaces its value and leaves it where it stands, so a
/// slow reader finds the newest of each and no more of them than there are keys.
#[derive(Debug)]
pub struct Slots<K, V> {
    order: VecDeque<K>,
    values: FxHashMap<K, V>,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Slots { order: VecDeque::new(), values: FxHashMap::default() }
    }
}

impl<K: Copy + Eq + Hash, V> Slots<K, V> {
    /// Puts a value into its slot.
    pub fn put(&mut self, key: K, value: V) {
        if self.values.insert(key, value).is_none() {
            self.order.push_back(key);
        }
    }

    /// Takes the value that waits longest.
    pub fn pop_front(&mut self) -> Option<(K, V)> {
        let key = self.order.pop_front()?;
        self.values.remove(&key).map(|value| (key, value))
    }

    /// Gives a value back that was taken, unless a newer one waits.
    pub fn give_back(&mut self, key: K, value: V) {
        if let Entry::Vacant(vacant) = self.values.entry(key) {
            vacant.insert(value);
            self.order.push_front(key);
        }
    }

    /// Keeps only these keys.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.order.retain(&keep);
        self.values.retain(|key, _| keep(key));
    }

    /// Whether this key waits.
    pub fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // behaviour: presence.newest-wins
    #[test]
    fn a_slow_reader_finds_the_newest_of_each() {
        let mut slots = Slots::default();
        for (key, value) in [(1, "a"), (2, "b"), (1, "c"), (3, "d"), (2, "e")] {
            slots.put(key, value);
        }
        assert_eq!(slots.len(), 3);
        assert_eq!(slots.pop_front(), Some((1, "c")));
        slots.give_back(1, "c");
        slots.give_back(2, "older than e");
        let read: Vec<_> = std::iter::from_fn(|| slots.pop_front()).collect();
        assert_eq!(read, [(1, "c"), (2, "e"), (3, "d")]);
        assert!(slots.is_empty());
    }
}
