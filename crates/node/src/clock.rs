//! Whether the time can be right. Records get the node's time, and retention deletes by it: a clock that is far off destroys data.

use std::path::Path;

use dohle_env::{Disk, Env};
use dohle_types::TimestampMs;

use crate::exit::{Failure, Reason};

/// 2020-01-01T00:00:00Z: this program did not exist before.
const EARLIEST: TimestampMs = TimestampMs(1_577_836_800_000);
/// How far a clock may be set back without a word: it drifts, and is corrected.
const TOLERANCE_MS: i64 = 60_000;
const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// Refuses a clock from before this program, and one that says it is earlier than when metadata was last written.
pub fn check(env: &Env, metadata_dir: &Path) -> Result<(), Failure> {
    let now = env.clock.now();
    let refuse = |why: String| {
        let date = date(now);
        Err(Failure::new(
            Reason::Clock,
            format!("the clock says that it is {date}, {why}: set the clock right"),
        ))
    };
    if now < EARLIEST {
        return refuse("which was before this program was written".to_owned());
    }
    match last_written(env.disk.as_ref(), metadata_dir) {
        Some(written) if written.0 > now.0.saturating_add(TOLERANCE_MS) => refuse(format!(
            "but the metadata in {} was last written on {}",
            metadata_dir.display(),
            date(written)
        )),
        _ => Ok(()),
    }
}

/// When the newest file of the metadata log was written. A folder that cannot be read is for others to complain about.
fn last_written(disk: &dyn Disk, metadata_dir: &Path) -> Option<TimestampMs> {
    let folder = metadata_dir.join(METADATA_FOLDER);
    let entries = disk.list(&folder).ok()?;
    let times =
        entries.iter().filter_map(|entry| Some(disk.metadata(&folder.join(&entry.name)).ok()??.modified));
    times.max()
}

/// `2026-01-31 12:00 UTC` (days to a date after Howard Hinnant's "chrono-compatible low-level date algorithms").
fn date(at: TimestampMs) -> String {
    let minutes = at.0.div_euclid(60_000);
    let days = minutes.div_euclid(1440) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (minutes.rem_euclid(1440) / 60, minutes.rem_euclid(60));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dohle_env::Clock;

    #[test]
    fn dates_are_right() {
        for (ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_826_200_000, "2000-02-29 12:10 UTC"),
            (EARLIEST.0, "2020-01-01 00:00 UTC"),
            (4_102_444_799_000, "2099-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(TimestampMs(ms)), text);
        }
    }

    #[test]
    fn a_clock_that_was_reset_is_refused() {
        let (clock, hand) = Clock::manual(TimestampMs(0));
        let env = Env { clock, ..Env::real() };
        let refused = check(&env, Path::new("/nowhere")).expect_err("1970");
        assert_eq!(refused.reason(), Reason::Clock);
        assert!(refused.to_string().contains("1970-01-01 00:00 UTC"), "{refused}");
        hand.set_wall(EARLIEST);
        assert!(check(&env, Path::new("/nowhere")).is_ok());
    }
}
