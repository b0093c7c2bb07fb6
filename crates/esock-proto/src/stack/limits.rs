//! Rate limits: a bucket of tokens that fills with time.

use crate::time::Time;

/// See the module.
#[derive(Debug)]
pub struct RateLimit {
    per_second: u32,
    tokens: f64,
    filled: Time,
}

impl RateLimit {
    /// At most `per_second` events a second, and as many at once.
    pub fn new(per_second: u32, now: Time) -> Self {
        Self { per_second, tokens: f64::from(per_second), filled: now }
    }

    /// Takes a token, if there is one.
    pub fn allow(&mut self, now: Time) -> bool {
        let limit = f64::from(self.per_second);
        self.tokens = (self.tokens + now.since(self.filled).as_secs_f64() * limit).min(limit);
        self.filled = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn no_more_pass_than_allowed_and_the_bucket_fills_again() {
        let mut limit = RateLimit::new(10, Time::ZERO);
        assert_eq!((0..100).filter(|_| limit.allow(Time::ZERO)).count(), 10);
        let later = Time::ZERO + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| limit.allow(later)).count(), 5);
    }
}
