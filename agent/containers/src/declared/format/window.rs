//! Owns windows of time in a week: `Sun 02:00-04:00`, `Mon-Fri 22:00-05:00`, `03:00-04:00`.

/// The days as they are written, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// When something may happen, in the host's local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// On which days it begins, Monday first.
    days: [bool; 7],
    /// Its first minute of the day.
    from: u16,
    /// The first minute after it; not after `from` when it goes over midnight.
    until: u16,
}

/// A moment of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// From 0, Monday.
    pub day: u8,
    /// From 0, midnight.
    pub minute: u16,
}

impl Window {
    /// Reads `[DAY[-DAY][,DAY…]] HH:MM-HH:MM`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no window of time; write [DAYS] FROM-UNTIL, like Sat,Sun 02:00-04:00");
        let (days, times) = text.trim().rsplit_once(' ').unwrap_or(("", text.trim()));
        let (from, until) = times.split_once('-').ok_or_else(wrong)?;
        let (from, until) = (minute(from).ok_or_else(wrong)?, minute(until).ok_or_else(wrong)?);
        let days = if days.is_empty() { [true; 7] } else { read_days(days).ok_or_else(wrong)? };
        Ok(Self { days, from, until })
    }

    /// Whether `moment` lies in it.
    pub fn contains(&self, moment: Moment) -> bool {
        let begins = |day: u8| self.days[usize::from(day) % 7];
        let (today, yesterday) = (begins(moment.day), begins((moment.day + 6) % 7));
        if self.from < self.until {
            return today && (self.from..self.until).contains(&moment.minute);
        }
        (today && moment.minute >= self.from) || (yesterday && moment.minute < self.until)
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn read_days(text: &str) -> Option<[bool; 7]> {
    let day = |text: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `Sat-Mon` goes over the end of the week.
        (0..=(last + 7 - first) % 7).for_each(|step| days[(first + step) % 7] = true);
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(window: &str, day: u8, hour: u16, minute: u16) -> bool {
        Window::parse(window).unwrap().contains(Moment { day, minute: hour * 60 + minute })
    }

    #[test]
    fn days_and_times_are_kept() {
        assert!(within("02:00-04:00", 3, 2, 0));
        assert!(!within("02:00-04:00", 3, 4, 0));
        assert!(within("Sun 02:00-04:00", 6, 3, 59));
        assert!(!within("Sun 02:00-04:00", 5, 3, 0));
        assert!(within("sat-mon,Wed 02:00-04:00", 0, 3, 0));
        assert!(within("sat-mon,Wed 02:00-04:00", 2, 3, 0));
        assert!(!within("sat-mon,Wed 02:00-04:00", 1, 3, 0));
    }

    #[test]
    fn nights_go_over_midnight_from_their_day() {
        assert!(within("Fri 22:00-05:00", 4, 23, 0));
        assert!(within("Fri 22:00-05:00", 5, 4, 59));
        assert!(!within("Fri 22:00-05:00", 4, 4, 0));
        assert!(!within("Fri 22:00-05:00", 5, 23, 0));
    }

    #[test]
    fn wrong_windows_say_what_is_right() {
        for wrong in ["", "2-4", "25:00-26:00", "Someday 02:00-04:00", "Sun"] {
            assert!(Window::parse(wrong).unwrap_err().contains("like Sat,Sun 02:00-04:00"), "{wrong}");
        }
    }
}
