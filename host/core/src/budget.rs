//! Bytes as a currency: a budget that work borrows from, waiting or refusing when it is spent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit stands for this many bytes (a semaphore counts in 32 bits).
const UNIT: u64 = 1024;

/// A number of bytes that may be in use at once. Clones share it.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    total: u64,
    units: Arc<Semaphore>,
}

/// Bytes taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct ByteLease {
    _permit: OwnedSemaphorePermit,
}

/// There was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes more would pass the limit of {total} bytes ({free} free)")]
pub struct OverBudget {
    /// Bytes asked for.
    pub wanted: u64,
    /// Bytes free at that moment.
    pub free: u64,
    /// The whole budget.
    pub total: u64,
}

impl ByteBudget {
    /// A budget of `total` bytes, in whole KiB and at least one.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let units = total.div_ceil(UNIT).clamp(1, u64::from(u32::MAX >> 3));
        Self { total: units * UNIT, units: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Bytes not in use.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT
    }

    /// The whole budget, bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Takes `bytes` at once.
    ///
    /// # Errors
    /// [`OverBudget`] where that many are not free.
    pub fn try_take(&self, bytes: u64) -> Result<ByteLease, OverBudget> {
        let over = OverBudget { wanted: bytes, free: self.free(), total: self.total };
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| over)?;
        match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(permit) => Ok(ByteLease { _permit: permit }),
            Err(_) => Err(over),
        }
    }

    /// Waits until `bytes` are free; more than the whole budget is cut to it, so that one large item still passes alone.
    pub async fn take(&self, bytes: u64) -> ByteLease {
        let units = bytes.div_ceil(UNIT).min(self.total / UNIT) as u32;
        loop {
            // the semaphore is never closed
            if let Ok(permit) = Arc::clone(&self.units).acquire_many_owned(units).await {
                return ByteLease { _permit: permit };
            }
        }
    }

    /// The same, blocking the thread. For reader and writer threads.
    #[must_use]
    pub fn take_blocking(&self, bytes: u64) -> ByteLease {
        futures::executor::block_on(self.take(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_come_back() {
        let b = ByteBudget::new(4096);
        let a = b.try_take(3000).unwrap();
        assert_eq!(b.try_take(2000).unwrap_err().free, 1024);
        drop(a);
        assert!(b.try_take(4096).is_ok());
    }

    #[test]
    fn one_item_larger_than_the_budget_passes_alone() {
        let b = ByteBudget::new(4096);
        let lease = b.take_blocking(1 << 20);
        assert_eq!(b.free(), 0);
        drop(lease);
        assert_eq!(b.free(), 4096);
    }
}
