//! What the comments of a file say about its lines, as far as their places tell: one behind a line, and one right above it, is about that line; one that begins a
//! paragraph is about all of its lines that have none of their own.
use super::super::native;
use super::super::position::Lines;
use policy::limits::MAX_REASON;

/// The comments of a file.
pub(super) struct Comments<'l, 't> {
    lines: &'l Lines<'t>,
    /// By line, from 0: the last line of the comment that its paragraph begins with, from 1; 0: it begins with none.
    heads: Vec<usize>,
}

impl<'l, 't> Comments<'l, 't> {
    pub(super) fn of(lines: &'l Lines<'t>) -> Self {
        let (mut heads, mut head, mut is_beginning) = (Vec::new(), 0, true);
        for number in 1.. {
            let Some(line) = lines.line(number).map(str::trim) else { break };
            match line.chars().next() {
                None => (head, is_beginning) = (0, true),
                Some('#') if is_beginning => head = number,
                Some('#') => {}
                Some(_) => is_beginning = false,
            }
            heads.push(head);
        }
        Self { lines, heads }
    }

    /// What is said about a line, from 1.
    pub(super) fn about(&self, line: usize) -> Option<String> {
        let head = line.checked_sub(1).and_then(|index| self.heads.get(index)).copied();
        self.own(line).or_else(|| self.ending(head?))
    }

    /// What is said about this line alone.
    pub(super) fn own(&self, line: usize) -> Option<String> {
        let behind = self.lines.line(line).and_then(|text| text.split_once('#')).map(|(_, comment)| comment);
        let behind = behind.and_then(|comment| native::reason(comment.trim_start_matches('#')));
        behind.or_else(|| self.ending(line.checked_sub(1).filter(|above| self.text(*above).is_some())?))
    }

    /// The text of a line that is a comment.
    fn text(&self, line: usize) -> Option<&'t str> {
        self.lines.line(line)?.trim_start().strip_prefix('#').map(|text| text.trim_start_matches('#'))
    }

    /// The comment that ends in a line.
    fn ending(&self, last: usize) -> Option<String> {
        // So many lines are more than a reason holds.
        let lines = (1..=last).rev().map_while(|line| self.text(line)).take(MAX_REASON);
        let mut lines: Vec<&str> = lines.collect();
        lines.reverse();
        let text = lines.join(" ");
        // Whose file it is says nothing about its lines.
        let is_of_file = ["copyright", "license"].iter().any(|word| text.to_ascii_lowercase().contains(word));
        native::reason(&text).filter(|_| !is_of_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Copyright X\n# All rights reserved.\nbrk: 1\n\n## For files\n#\n# and such\nopen: 1\nread: 1 # often\n# only a little\nwrite: arg0 == 1\n  close: 1\n\ndup: 1 #\n # last";

    #[test]
    fn comments_are_about_what_their_places_say() {
        let lines = Lines::new(TEXT);
        let comments = Comments::of(&lines);
        let about = |line| comments.about(line);
        assert_eq!([about(3), about(0), about(14), about(99)], [None, None, None, None]);
        assert_eq!([about(8), about(12)], [Some("For files and such".into()), Some("For files and such".into())]);
        assert_eq!([about(9), about(11)], [Some("often".into()), Some("only a little".into())]);
    }
}
