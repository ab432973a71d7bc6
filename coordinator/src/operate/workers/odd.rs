//! Which workers stand out beside the others. Pure.

use schemars::JsonSchema;
use serde::Serialize;
use services::clock::off_words;
use services::state::{AttemptCounts, WorkerInfo};

/// Fewest attempts that say something about a worker.
const ENOUGH: u64 = 20;

/// Fewest workers that have a median.
const SEVERAL: usize = 3;

/// Fewest attempts that went wrong for a worker to stand out, and by how many times more than on the median one.
const MANY: u64 = 5;
const TIMES: f64 = 3.0;

/// Shares of attempts on the median worker; `None` where too few workers ran enough.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Median {
    /// That failed or errored.
    pub failed: Option<f64>,
    /// Whose lease was lost.
    pub lost: Option<f64>,
}

/// The median of workers that ran enough.
pub(super) fn median(workers: &[WorkerInfo]) -> Median {
    let middle = |share: fn(&AttemptCounts) -> u64| {
        let enough = workers.iter().filter(|worker| worker.ended.all >= ENOUGH);
        let mut shares: Vec<f64> = enough.map(|worker| share(&worker.ended) as f64 / worker.ended.all as f64).collect();
        shares.sort_by(f64::total_cmp);
        (shares.len() >= SEVERAL).then(|| shares[(shares.len() - 1) / 2])
    };
    Median { failed: middle(went_wrong), lost: middle(|counts| counts.lost) }
}

/// What stands out of a worker, in words.
pub(super) fn oddities(worker: &WorkerInfo, median: Median) -> Vec<String> {
    let AttemptCounts { all, lost, .. } = worker.ended;
    let odd = |count: u64, middle: Option<f64>, what: &str| {
        let (share, middle) = (count as f64 / all as f64, middle?);
        let is_odd = all >= ENOUGH && count >= MANY && share > TIMES * middle;
        is_odd.then(|| format!("{what} {:.0} % of its attempts, the median worker {:.0} %", share * 1e2, middle * 1e2))
    };
    let wrong = odd(went_wrong(&worker.ended), median.failed, "fails");
    wrong.into_iter().chain(odd(lost, median.lost, "loses")).chain(worker.clock_ahead.map(clock)).collect()
}

/// How wrong a host's clock is.
fn clock(ahead: i64) -> String {
    format!("its clock, beside the state's, is {}: times that it writes down are wrong", off_words(ahead))
}

fn went_wrong(counts: &AttemptCounts) -> u64 {
    counts.failed + counts.errored
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn worker(all: u64, failed: u64, lost: u64) -> WorkerInfo {
        let new = WorkerInfo::new("a-1".parse().unwrap(), [].into(), Timestamp::UNIX_EPOCH);
        WorkerInfo { ended: AttemptCounts { all, failed, lost, ..AttemptCounts::default() }, ..new }
    }

    #[test]
    fn a_worker_that_fails_far_more_than_the_median_stands_out() {
        let workers = [worker(100, 2, 0), worker(1000, 30, 0), worker(50, 20, 6), worker(100, 4, 0)];
        let median = median(&workers);
        assert_eq!(median, Median { failed: Some(0.03), lost: Some(0.0) });
        let odd: Vec<usize> = workers.iter().map(|worker| oddities(worker, median).len()).collect();
        assert_eq!(odd, [0, 0, 2, 0]);
        assert_eq!(oddities(&workers[2], median)[0], "fails 40 % of its attempts, the median worker 3 %");
    }

    #[test]
    fn a_clock_that_is_wrong_is_named() {
        let behind = WorkerInfo { clock_ahead: Some(-7200), ..worker(0, 0, 0) };
        let odd = oddities(&behind, Median::default());
        assert!(matches!(&odd[..], [one] if one.contains("beside the state's, is 7200 s behind: ")), "{odd:?}");
    }

    #[test]
    fn few_workers_or_few_attempts_say_nothing() {
        let few = [worker(100, 90, 0), worker(100, 0, 0)];
        assert_eq!(median(&few), Median::default());
        assert!(oddities(&few[0], Median::default()).is_empty());
        assert!(oddities(&worker(6, 6, 0), Median { failed: Some(0.0), lost: None }).is_empty());
        assert!(oddities(&worker(0, 0, 0), Median { failed: Some(0.0), lost: None }).is_empty());
    }
}
