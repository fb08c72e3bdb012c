//! The decimal digits of a number, and how they are rounded: half to even, by the number's own binary value where its digits are
//! halfway.

/// The digits of a number: 0.DIGITS times ten to the power of `point`. Without digits it is zero.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) digits: Vec<u8>,
    pub(super) point: i32,
}

impl Digits {
    /// The fewest digits that name `size`, which is finite and not negative.
    fn shortest(size: f64) -> Digits {
        Digits::read(&format!("{size:e}"))
    }

    /// The digits of a text like `1.25e-3` or `12.5`.
    fn read(text: &str) -> Digits {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
        let integers = mantissa.find('.').unwrap_or(mantissa.len());
        let mut point = exponent.parse::<i32>().unwrap_or(0) + i32::try_from(integers).unwrap_or(0);
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        point -= i32::try_from(zeros).unwrap_or(0);
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            point = 0;
        }
        Digits { digits, point }
    }

    /// Rounds `size` to `most` digits after the point.
    pub(super) fn fixed(size: f64, most: usize) -> Digits {
        let digits = Digits::shortest(size);
        let keep = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(i64::from(digits.point));
        // halfway by its digits, the number's own value decides, which the standard library rounds exactly
        digits.round(keep, || Digits::read(&format!("{size:.most$}")))
    }

    /// Rounds `size` to `most` significant digits.
    pub(super) fn significant(size: f64, most: usize) -> Digits {
        let keep = i64::try_from(most).unwrap_or(i64::MAX);
        Digits::shortest(size).round(keep, || Digits::read(&format!("{size:.*e}", most.saturating_sub(1))))
    }

    fn round(mut self, keep: i64, exact: impl FnOnce() -> Digits) -> Digits {
        let Ok(keep) = usize::try_from(keep) else { return Digits { digits: Vec::new(), point: 0 } };
        let Some(first) = self.digits.get(keep) else { return self };
        if *first == 5 && self.digits.len() == keep + 1 {
            return exact();
        }
        let up = *first >= 5;
        self.digits.truncate(keep);
        if up {
            self.increment();
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.point = 0;
        }
        self
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
        self.point += 1;
    }

    /// The digit at a place: 0 is the first one before the point, -1 the first one behind.
    pub(super) fn at(&self, place: i64) -> char {
        let index = i64::from(self.point) - 1 - place;
        let digit =
            usize::try_from(index).ok().and_then(|index| self.digits.get(index)).copied().unwrap_or(0);
        char::from(b'0' + digit)
    }
}
