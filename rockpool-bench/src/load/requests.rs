//! Which request comes next.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution as _, LogNormal, Zipf};

use super::trace::Trace;
use super::{Distribution, LoadError, Operation, Plan, Sizes, Span};
use crate::wire::{Kind, MANY_KEYS};

/// The standard deviation of the logarithm of log-normal sizes: their mean is three times their median.
const SIZES_SIGMA: f64 = 1.5;

/// One request, as little of it as brings it back.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// GET, SET or DEL.
    pub kind: Kind,
    /// The number of its key, or of the first of several, which [`KeyNames`] spells out.
    pub key: u64,
    /// Of each value that is set.
    pub bytes: usize,
    /// The lifetime of a value that is set, in milliseconds.
    pub ttl_ms: Option<u64>,
}

/// The bytes of keys.
#[derive(Clone, Debug)]
pub enum KeyNames {
    /// A prefix and a number.
    Numbered {
        prefix: Vec<u8>,
        /// Of the number, with zeros before it.
        digits: usize,
        /// Picks the other keys of MGET and MSET.
        scatter: Scatter,
    },
    /// Those of a trace.
    Listed(Arc<Trace>),
}

impl KeyNames {
    /// Puts the key's bytes in place of what `output` holds.
    #[inline]
    pub fn write(&self, key: u64, output: &mut Vec<u8>) {
        output.clear();
        match self {
            KeyNames::Numbered { prefix, digits, .. } => {
                output.extend_from_slice(prefix);
                let mut buffer = itoa::Buffer::new();
                let number = buffer.format(key).as_bytes();
                output.resize(prefix.len() + digits.saturating_sub(number.len()), b'0');
                output.extend_from_slice(number);
            }
            KeyNames::Listed(trace) => output.extend_from_slice(trace.key(key)),
        }
    }

    /// The keys of MGET and MSET whose first one is `key`: far apart, and different from each other.
    pub fn of_many(&self, key: u64) -> impl Iterator<Item = u64> + use<> {
        let scatter = match self {
            KeyNames::Numbered { scatter, .. } => *scatter,
            KeyNames::Listed(trace) => Scatter::new(trace.len()),
        };
        (0..MANY_KEYS as u64).map(move |nth| (key + scatter.place(nth)) % scatter.count)
    }
}

/// The requests of one thread. All threads together make those of the plan: sequential ones are dealt out round-robin.
#[derive(Debug)]
pub struct Requests {
    operation: Operation,
    value_bytes: Sizes,
    /// Where the sizes are log-normal.
    log_normal: Option<LogNormal<f64>>,
    ttl_ms: Option<Span<u64>>,
    order: Order,
    random: SmallRng,
}

#[derive(Debug)]
enum Order {
    /// `next` modulo `count`, where that is not 0.
    Sequential {
        next: u64,
        step: u64,
        count: u64,
    },
    Uniform {
        count: u64,
    },
    Zipf {
        ranks: Zipf<f64>,
        scatter: Scatter,
    },
    Trace {
        next: u64,
        step: u64,
        trace: Arc<Trace>,
    },
}

impl Requests {
    /// What each of the plan's threads asks for, and what the keys are called.
    ///
    /// # Errors
    /// [`LoadError::Plan`] when the distribution needs a number of keys and has none, or its exponent cannot be, or the
    /// trace cannot be read.
    pub fn deal(plan: &Plan, threads: usize) -> Result<(Vec<Requests>, KeyNames), LoadError> {
        let refuse = |reason: String| LoadError::Plan(reason);
        let keys = &plan.keys;
        let mut names = KeyNames::Numbered {
            prefix: keys.prefix.clone().into_bytes(),
            digits: keys.key_bytes.saturating_sub(keys.prefix.len()),
            scatter: Scatter::new(keys.count.max(1)),
        };
        let step = threads as u64;
        let random_keys = || match keys.count {
            0 => Err(refuse("random keys need their number (-r)".to_owned())),
            count => Ok(count),
        };
        let order_of: Box<dyn Fn(u64) -> Order> = match &keys.distribution {
            Distribution::Sequential => {
                let count = keys.count;
                Box::new(move |next| Order::Sequential { next, step, count })
            }
            Distribution::Uniform => {
                let count = random_keys()?;
                Box::new(move |_| Order::Uniform { count })
            }
            Distribution::Zipf { exponent } => {
                let count = random_keys()?;
                if !exponent.is_finite() {
                    return Err(refuse(format!("exponent {exponent}: not a finite number")));
                }
                let ranks = Zipf::new(count as f64, *exponent)
                    .map_err(|error| refuse(format!("exponent {exponent}: {error}")))?;
                Box::new(move |_| Order::Zipf { ranks, scatter: Scatter::new(count) })
            }
            Distribution::Trace { path } => {
                let trace = Trace::read(path).map_err(|error| refuse(format!("trace {}: {error}", path.display())))?;
                let trace = Arc::new(trace);
                names = KeyNames::Listed(trace.clone());
                Box::new(move |next| Order::Trace { next, step, trace: trace.clone() })
            }
        };
        let log_normal = plan.value_bytes.median.map(|median| LogNormal::new((median as f64).ln(), SIZES_SIGMA));
        let log_normal = log_normal.transpose().map_err(|error| refuse(format!("sizes: {error}")))?;
        let of_thread = |thread: u64| Requests {
            operation: plan.operation,
            value_bytes: plan.value_bytes,
            log_normal,
            ttl_ms: plan.ttl_ms,
            order: order_of(thread),
            random: SmallRng::seed_from_u64(plan.order_seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread)),
        };
        Ok(((0..step).map(of_thread).collect(), names))
    }

    /// Draws the next request; there is no last one.
    #[inline]
    pub fn next(&mut self) -> Request {
        let (mut kind, mut bytes) = (None, None);
        let key = match &mut self.order {
            Order::Sequential { next, step, count } => {
                let key = if *count == 0 { *next } else { *next % *count };
                *next += *step;
                key
            }
            Order::Uniform { count } => self.random.random_range(0..*count),
            Order::Zipf { ranks, scatter } => {
                let rank = ranks.sample(&mut self.random) as u64;
                scatter.place(rank.clamp(1, scatter.count) - 1)
            }
            Order::Trace { next, step, trace } => {
                let line = *next % trace.len();
                *next += *step;
                (kind, bytes) = (trace.kind(line), trace.bytes(line));
                line
            }
        };
        let kind = kind.unwrap_or_else(|| match self.operation {
            Operation::Get => Kind::Get,
            Operation::Set => Kind::Set,
            Operation::Mget => Kind::GetMany,
            Operation::Mset => Kind::SetMany,
            Operation::Mixed { reads } if self.random.random::<f64>() < reads => Kind::Get,
            Operation::Mixed { .. } => Kind::Set,
        });
        if !matches!(kind, Kind::Set | Kind::SetMany) {
            return Request { kind, key, bytes: 0, ttl_ms: None };
        }
        let bytes = bytes.unwrap_or_else(|| match (self.value_bytes, &self.log_normal) {
            (Sizes { min, max, .. }, Some(sizes)) => (sizes.sample(&mut self.random) as usize).clamp(min, max),
            (sizes, None) if sizes.is_one() => sizes.min,
            (Sizes { min, max, .. }, None) => self.random.random_range(min..=max),
        });
        let ttl_ms = self.ttl_ms.map(|Span { min, max }| self.random.random_range(min..=max));
        Request { kind, key, bytes, ttl_ms }
    }
}

/// A permutation of 0 to `count` - 1 that keeps neighbours apart: multiplication by a number near `count` divided by
/// the golden ratio, and prime to `count`.
#[derive(Clone, Copy, Debug)]
pub struct Scatter {
    count: u64,
    factor: u64,
}

impl Scatter {
    /// The permutation of so many numbers, at least one.
    pub fn new(count: u64) -> Scatter {
        let golden = (count as f64 * 0.618_033_988_749_895) as u64;
        let factor = (golden.max(1)..).find(|factor| greatest_common_divisor(*factor, count) == 1).unwrap_or(1);
        Scatter { count, factor }
    }

    fn place(self, rank: u64) -> u64 {
        (u128::from(rank) * u128::from(self.factor) % u128::from(self.count)) as u64
    }
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Keys;

    fn requests(distribution: Distribution, count: u64, operation: Operation, threads: usize) -> Vec<Requests> {
        let keys = Keys { distribution, count, ..Keys::default() };
        Requests::deal(&Plan { keys, operation, ..Plan::default() }, threads).expect("a plan that can be").0
    }

    /// How often each key is asked for in `draws` requests.
    fn counts(distribution: Distribution, keys: u64, draws: u64) -> Vec<u64> {
        let mut counts = vec![0; keys as usize];
        let requests = &mut requests(distribution, keys, Operation::Get, 1)[0];
        (0..draws).for_each(|_| counts[requests.next().key as usize] += 1);
        counts
    }

    #[test]
    fn sequential_keys_are_dealt_out_without_a_gap() {
        let mut threads = requests(Distribution::Sequential, 0, Operation::Set, 3);
        let mut keys: Vec<u64> = (0..30).map(|turn| threads[turn % 3].next().key).collect();
        keys.sort_unstable();
        assert_eq!(keys, (0..30).collect::<Vec<_>>());
        let mut one = requests(Distribution::Sequential, 4, Operation::Set, 1);
        assert_eq!([0; 6].map(|_: u64| one[0].next().key), [0, 1, 2, 3, 0, 1]);
    }

    #[test]
    fn uniform_keys_are_equally_frequent() {
        let counts = counts(Distribution::Uniform, 1_000, 1_000_000);
        let chi_squared: f64 = counts.iter().map(|count| (*count as f64 - 1000.0).powi(2) / 1000.0).sum();
        // 999 degrees of freedom: mean 999, standard deviation 45.
        assert!((775.0..1225.0).contains(&chi_squared), "{chi_squared}");
    }

    #[test]
    fn zipf_keys_are_as_frequent_as_their_ranks_say() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let (keys, draws) = (1_000u64, 1_000_000u64);
            let counts = counts(Distribution::Zipf { exponent }, keys, draws);
            let scatter = Scatter::new(keys);
            let sum: f64 = (1..=keys).map(|rank| (rank as f64).powf(-exponent)).sum();
            for rank in [1, 2, 3, 10, 100, 500] {
                let expected = draws as f64 * (rank as f64).powf(-exponent) / sum;
                let counted = counts[scatter.place(rank - 1) as usize] as f64;
                let deviations = (counted - expected).abs() / expected.sqrt();
                assert!(deviations < 5.0, "exponent {exponent}, rank {rank}: {counted}, {expected} expected");
            }
        }
    }

    #[test]
    fn hot_keys_are_not_neighbours() {
        for count in [1, 2, 3, 10, 1_000, 99_991, 1 << 16] {
            let scatter = Scatter::new(count);
            let mut places: Vec<u64> = (0..count).map(|rank| scatter.place(rank)).collect();
            if count > 100 {
                let closest = places[..10]
                    .iter()
                    .enumerate()
                    .flat_map(|(index, one)| places[..index].iter().map(move |other| one.abs_diff(*other)));
                assert!(closest.min().unwrap() > count / 100, "{count}: {:?}", &places[..10]);
            }
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..count), "{count}");
        }
    }

    #[test]
    fn the_ratio_of_reads_is_kept() {
        let requests = &mut requests(Distribution::Uniform, 100, Operation::Mixed { reads: 0.9 }, 1)[0];
        let reads = (0..100_000).filter(|_| requests.next().kind == Kind::Get).count();
        assert!((89_500..90_500).contains(&reads), "{reads}");
    }

    #[test]
    fn sizes_and_lifetimes_fill_their_ranges() {
        let plan = Plan {
            value_bytes: Sizes { min: 10, max: 19, median: None },
            ttl_ms: Some(Span { min: 1, max: 5 }),
            ..Plan::default()
        };
        let requests = &mut Requests::deal(&plan, 1).unwrap().0[0];
        let (mut sizes, mut ttls) = ([0; 20], [0; 6]);
        for _ in 0..10_000 {
            let request = requests.next();
            sizes[request.bytes] += 1;
            ttls[request.ttl_ms.unwrap() as usize] += 1;
        }
        assert!(sizes[10..].iter().all(|count| (850..1150).contains(count)), "{sizes:?}");
        assert!(ttls[1..].iter().all(|count| (1800..2200).contains(count)), "{ttls:?}");
    }

    #[test]
    fn log_normal_sizes_have_their_median_and_their_limit() {
        let plan = Plan { value_bytes: Sizes::log_normal(1024, 65_536), ..Plan::default() };
        let requests = &mut Requests::deal(&plan, 1).expect("a plan that can be").0[0];
        let mut sizes: Vec<usize> = (0..100_000).map(|_| requests.next().bytes).collect();
        sizes.sort_unstable();
        assert!((980..1070).contains(&sizes[50_000]), "{}", sizes[50_000]);
        // One in 6.3 is beyond a standard deviation: above the median times e to the power of that.
        let deviation = 1024.0 * SIZES_SIGMA.exp();
        assert!((0.93..1.07).contains(&(sizes[84_134] as f64 / deviation)), "{}", sizes[84_134]);
        assert!(sizes[0] >= 1 && sizes[99_999] == 65_536);
    }

    #[test]
    fn the_order_has_a_seed_of_its_own() {
        let keys_of = |seed: u64, order_seed: u64| -> Vec<u64> {
            let keys = Keys { distribution: Distribution::Uniform, count: 1_000_000, ..Keys::default() };
            let plan = Plan { keys, seed, order_seed, ..Plan::default() };
            let requests = &mut Requests::deal(&plan, 1).expect("a plan that can be").0[0];
            (0..100).map(|_| requests.next().key).collect()
        };
        assert_eq!(keys_of(1, 7), keys_of(2, 7));
        let (one, other) = (keys_of(1, 7), keys_of(1, 8));
        assert!(one.iter().filter(|key| other.contains(key)).count() < 5, "{one:?} {other:?}");
    }

    #[test]
    fn the_keys_of_one_command_are_different_ones() {
        for count in [10, 11, 100, 99_991] {
            let keys = Keys { distribution: Distribution::Uniform, count, ..Keys::default() };
            let (_, names) = Requests::deal(&Plan { keys, ..Plan::default() }, 1).expect("a plan that can be");
            let many: std::collections::BTreeSet<u64> = names.of_many(count - 1).collect();
            assert!(
                many.len() == MANY_KEYS && many.contains(&(count - 1)) && many.iter().all(|key| *key < count),
                "{many:?}"
            );
        }
    }

    #[test]
    fn keys_are_padded_to_their_length() {
        let (_, names) = Requests::deal(&Plan::default(), 1).unwrap();
        let mut key = Vec::new();
        names.write(42, &mut key);
        assert_eq!(key, b"key:000000000042");
        names.write(1_234_567_890_123, &mut key);
        assert_eq!(key, b"key:1234567890123");
    }

    #[test]
    fn random_keys_need_their_number() {
        for distribution in [Distribution::Uniform, Distribution::Zipf { exponent: 1.0 }] {
            let keys = Keys { distribution, ..Keys::default() };
            assert!(Requests::deal(&Plan { keys, ..Plan::default() }, 1).is_err());
        }
        for exponent in [-1.0, f64::NAN, f64::INFINITY] {
            let keys = Keys { distribution: Distribution::Zipf { exponent }, count: 10, ..Keys::default() };
            assert!(Requests::deal(&Plan { keys, ..Plan::default() }, 1).is_err(), "{exponent}");
        }
    }
}
