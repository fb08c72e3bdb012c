//! Numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014), enough for a simulation and nothing else.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// One step of SplitMix64's output function; a good hash of a number too.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The stream that goes on from here: neighbouring numbers are not far apart in it.
    pub(crate) fn at(state: u64) -> Self {
        Self(state)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let out = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        out
    }

    /// A number above 0 and at most 1.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `n`; 0 when `n` is.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Sixteen random bytes.
    pub(crate) fn identity(&mut self) -> [u8; 16] {
        ((u128::from(self.bits()) << 64) | u128::from(self.bits())).to_be_bytes()
    }

    /// True once in a while: with a probability of `percent`.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the choices.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Random sampling of one packet in N: how many packets pass between two that are sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skip {
    /// 1 / ln(1 - 1/N), or 0 when every packet is sampled.
    scale: f64,
}

impl Skip {
    pub(crate) fn new(one_in: u32) -> Self {
        let scale = if one_in > 1 { (-1.0 / f64::from(one_in)).ln_1p().recip() } else { 0.0 };
        Self { scale }
    }

    /// The packets that pass before the next one that is sampled: geometrically distributed, so that each packet is
    /// sampled with a probability of 1/N, whatever came before.
    pub(crate) fn draw(self, random: &mut Random) -> u64 {
        (random.unit().ln() * self.scale) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_geometric() {
        let (mut random, skip) = (Random::new(3), Skip::new(100));
        let draws: Vec<u64> = (0..100_000).map(|_| skip.draw(&mut random)).collect();
        let mean = draws.iter().sum::<u64>() as f64 / draws.len() as f64;
        // Mean N-1 with a deviation of about N; a hundred thousand draws know it to 0.3 %.
        assert!((mean - 99.0).abs() < 1.2, "{mean}");
        let none = draws.iter().filter(|skip| **skip == 0).count();
        assert!((850..1150).contains(&none), "{none} of 100,000 follow at once, about 1 in 100");
        assert!((0..10).all(|_| Skip::new(1).draw(&mut random) == 0));
    }

    #[test]
    fn every_choice_is_made() {
        let mut random = Random::new(4);
        let mut seen = [0; 7];
        (0..7000).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
