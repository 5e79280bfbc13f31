//! Does the same work for each of many things with as many hands as the machine has. What comes out does not depend on how many those are.

use std::num::NonZeroUsize;
use std::thread;

/// With fewer things for each hand another hand costs more than it brings.
const WORTHWHILE: usize = 8;

/// Does `work` for each of `things`, in `hands` threads, and gives the results in the order of the things.
pub(super) fn each<T: Send, R: Send>(things: Vec<T>, hands: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let hands = hands.min(things.len() / WORTHWHILE);
    if hands < 2 {
        return things.into_iter().map(work).collect();
    }
    let share = things.len().div_ceil(hands);
    let mut left = things.into_iter();
    let shares: Vec<Vec<T>> = (0..hands).map(|_| left.by_ref().take(share).collect()).collect();
    let work = &work;
    thread::scope(|scope| {
        let mut shares = shares.into_iter();
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || share.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let mut results: Vec<R> = own.into_iter().map(work).collect();
        for other in others {
            match other.join() {
                Ok(done) => results.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

/// As many threads as were asked for, or as there are processors.
pub(super) fn hands(asked: Option<NonZeroUsize>) -> usize {
    asked
        .or_else(|| thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order() {
        let things: Vec<u32> = (0..1_001).collect();
        let expected: Vec<u32> = things.iter().map(|n| n * 3).collect();
        for hands in [1, 2, 3, 7, 500] {
            assert_eq!(each(things.clone(), hands, |n| n * 3), expected, "{hands} hands");
        }
        assert_eq!(each(things, super::hands(None), |n| n * 3), expected);
    }
}
