//! Which of several rules for a call decides: libseccomp's order, as its verdicts show it.
//!
//! A profile's rules for a call are not tried in the order of the text. A rule without conditions decides alone. The others stand in a tree: each condition of 64
//! bits is two steps, the upper half of the register and the lower; rules with the same steps share them, and among the steps of a
//! level the one on the later argument is tried first, then `==`, `!=` and masks before `<` and `<=` before `>` and `>=`, then the narrower
//! bound. What is equal in all this keeps the order of the text. The tree, read from its top, is the list of rules that we need.
use super::super::native::{Action, Condition};
use serde::Deserialize;
use std::cmp::Ordering;

/// How an argument is compared (`seccomp_rule_add(3)`).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// One condition of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// 0 to 5.
    pub(super) argument: u8,
    pub(super) operator: Operator,
    /// Without bits that the mask hides.
    pub(super) value: u64,
    /// All bits but for [`Operator::MaskedEqual`].
    pub(super) mask: u64,
}

impl Comparison {
    /// Whether it stands in no rule's way: libseccomp leaves such conditions out.
    pub(super) fn is_void(&self) -> bool {
        self.operator == Operator::MaskedEqual && self.mask == 0
    }

    fn condition(&self) -> Condition {
        let (op, mask) = match self.operator {
            Operator::NotEqual => ("!=", None),
            Operator::Less => ("<", None),
            Operator::LessOrEqual => ("<=", None),
            Operator::Equal => ("==", None),
            Operator::GreaterOrEqual => (">=", None),
            Operator::Greater => (">", None),
            Operator::MaskedEqual => ("masked_eq", Some(self.mask)),
        };
        Condition { argument: self.argument, op, value: self.value, mask }
    }
}

/// Half a condition.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Twice the argument, and one more for the upper half.
    register: u8,
    operator: Operator,
    value: u32,
    mask: u32,
}

impl Step {
    /// The upper half's and the lower's.
    fn both(comparison: &Comparison) -> [Self; 2] {
        let [value, mask] = [comparison.value, comparison.mask].map(halves);
        let (register, operator) = (comparison.argument * 2, comparison.operator);
        [
            Self { register: register + 1, operator, value: value.0, mask: mask.0 },
            Self { register, operator, value: value.1, mask: mask.1 },
        ]
    }

    fn is_shared_with(&self, other: &Self) -> bool {
        let all = |step: &Self| (step.register, step.question(), step.value, step.mask);
        all(self) == all(other)
    }

    /// The operators that ask the same of a half. Whether a bound itself is within the range, and which answer is the wanted one, is the lower
    /// half's business.
    fn question(&self) -> Operator {
        let is_upper = self.register % 2 == 1;
        match self.operator {
            Operator::NotEqual if is_upper => Operator::Equal,
            Operator::Less | Operator::LessOrEqual | Operator::GreaterOrEqual if is_upper => Operator::Greater,
            other => other,
        }
    }

    /// Greater: this step is tried first.
    fn precedence(&self, other: &Self) -> Ordering {
        let class = |operator| match operator {
            Operator::MaskedEqual | Operator::Equal | Operator::NotEqual => 3,
            Operator::LessOrEqual | Operator::Less => 2,
            Operator::GreaterOrEqual | Operator::Greater => 1,
        };
        let values = match self.operator {
            Operator::LessOrEqual | Operator::Less => other.value.cmp(&self.value),
            _ => self.value.cmp(&other.value),
        };
        let registers = self.register.cmp(&other.register);
        registers.then(class(self.operator).cmp(&class(other.operator))).then(values)
    }
}

/// The upper and the lower 32 bits.
fn halves(word: u64) -> (u32, u32) {
    let bytes = word.to_be_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// A step, and what follows when it is taken.
#[derive(Debug)]
struct Node<'t> {
    step: Step,
    below: Below<'t>,
}

#[derive(Debug)]
enum Below<'t> {
    Steps(Vec<Node<'t>>),
    /// The rule ends here.
    Rule(&'t Ruling),
}

/// What an entry of the profile says about one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// At most one for each argument, by ascending argument.
    pub(super) comparisons: Vec<Comparison>,
    pub(super) action: Action,
    /// Where the entry stands in the text.
    pub(super) offset: usize,
}

/// One rule of the list that comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
    /// Where the entry stands that says so.
    pub(super) offset: usize,
}

/// Two rules that libseccomp does not take together: they decide the same calls differently.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// Where the earlier entry stands.
    pub(super) earlier: usize,
    /// Where the later one stands.
    pub(super) later: usize,
}

/// The rules for a call in the order in which they decide.
pub(super) fn decisions(rulings: &[Ruling]) -> Result<Vec<Decision>, Contradiction> {
    if let Some(alone) = rulings.iter().find(|ruling| ruling.comparisons.is_empty()) {
        return Ok(vec![Decision { conditions: Vec::new(), action: alone.action, offset: alone.offset }]);
    }
    let mut tree = Vec::new();
    for ruling in rulings {
        let steps: Vec<Step> = ruling.comparisons.iter().flat_map(Step::both).collect();
        insert(&mut tree, &steps, ruling)?;
    }
    let mut list = Vec::new();
    list_rules(&tree, &mut list);
    Ok(list)
}

/// Adds a rule to a level of the tree. As deep as a rule has steps: twelve.
fn insert<'t>(level: &mut Vec<Node<'t>>, steps: &[Step], ruling: &'t Ruling) -> Result<(), Contradiction> {
    let Some((step, rest)) = steps.split_first() else { return Ok(()) };
    let place = level
        .iter()
        .position(|node| node.step.is_shared_with(step) || node.step.precedence(step) == Ordering::Less)
        .unwrap_or(level.len());
    match level.get_mut(place) {
        Some(node) if node.step.is_shared_with(step) => node.below.add(rest, ruling),
        _ => {
            level.insert(place, Node { step: *step, below: Below::new(rest, ruling) });
            Ok(())
        }
    }
}

impl<'t> Below<'t> {
    fn new(steps: &[Step], ruling: &'t Ruling) -> Self {
        match steps.split_first() {
            None => Self::Rule(ruling),
            Some((step, rest)) => Self::Steps(vec![Node { step: *step, below: Self::new(rest, ruling) }]),
        }
    }

    /// Adds a rule whose last steps these are.
    fn add(&mut self, steps: &[Step], ruling: &'t Ruling) -> Result<(), Contradiction> {
        match self {
            Self::Steps(level) if !steps.is_empty() => insert(level, steps, ruling),
            // What is there decides all that the new rule is about.
            Self::Rule(_) if !steps.is_empty() => Ok(()),
            // The new rule decides all that those which are there are about, and so must say the same.
            _ => match self.first_with_other_action(ruling.action) {
                Some(other) => Err(Contradiction { earlier: other.offset, later: ruling.offset }),
                None => {
                    *self = Self::Rule(ruling);
                    Ok(())
                }
            },
        }
    }

    fn first_with_other_action(&self, action: Action) -> Option<&'t Ruling> {
        match self {
            Self::Rule(ruling) => (ruling.action != action).then_some(*ruling),
            Self::Steps(level) => level.iter().find_map(|node| node.below.first_with_other_action(action)),
        }
    }
}

/// Writes the rules of a level and of those below down. What follows a rule that always applies is left out.
fn list_rules(level: &[Node<'_>], list: &mut Vec<Decision>) {
    for node in level {
        match &node.below {
            Below::Steps(below) => list_rules(below, list),
            Below::Rule(_) if list.last().is_some_and(|last| last.conditions.is_empty()) => return,
            Below::Rule(ruling) => list.extend(decision(ruling)),
        }
    }
}

/// The rule without conditions that always hold; nothing if one never does. Our language has no such conditions.
fn decision(ruling: &Ruling) -> Option<Decision> {
    let all = ruling.comparisons.iter().map(Comparison::condition);
    let conditions: Vec<Condition> = all.filter(|condition| condition.constant() != Some(true)).collect();
    let possible = conditions.iter().all(|condition| condition.constant().is_none());
    possible.then_some(Decision { conditions, action: ruling.action, offset: ruling.offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(offset: usize, errno: u16, comparisons: &[(u8, Operator, u64)]) -> Ruling {
        let comparison = |&(argument, operator, value)| Comparison { argument, operator, value, mask: u64::MAX };
        Ruling { comparisons: comparisons.iter().map(comparison).collect(), action: Action::Errno(errno), offset }
    }

    /// The errors of the rules in the order in which they decide.
    fn order(rulings: &[Ruling]) -> Result<Vec<u16>, Contradiction> {
        let errno = |decision: &Decision| match decision.action {
            Action::Errno(errno) => errno,
            other => panic!("{other:?}"),
        };
        decisions(rulings).map(|decisions| decisions.iter().map(errno).collect())
    }

    #[test]
    fn the_narrower_rule_is_first() {
        let bounds = [
            ruling(0, 1, &[(0, Operator::Greater, 5)]),
            ruling(0, 2, &[(0, Operator::Greater, 10)]),
            ruling(0, 3, &[(0, Operator::Less, 20)]),
            ruling(0, 4, &[(0, Operator::Less, 15)]),
            ruling(0, 5, &[(0, Operator::Equal, 7 << 32)]),
        ];
        assert_eq!(order(&bounds), Ok(vec![5, 4, 3, 2, 1]));
        let arguments = [ruling(0, 1, &[(0, Operator::Equal, 5)]), ruling(0, 2, &[(3, Operator::Greater, 0)])];
        assert_eq!(order(&arguments), Ok(vec![2, 1]));
    }

    #[test]
    fn what_has_no_conditions_decides_alone() {
        let rulings = [ruling(0, 1, &[(0, Operator::Equal, 5)]), ruling(0, 2, &[]), ruling(0, 3, &[])];
        assert_eq!(order(&rulings), Ok(vec![2]));
    }

    #[test]
    fn the_shorter_of_two_rules_with_one_beginning_holds_if_it_can() {
        let (short, long) = (&[(0, Operator::Equal, 5)][..], &[(0, Operator::Equal, 5), (1, Operator::Equal, 6)][..]);
        assert_eq!(order(&[ruling(0, 1, short), ruling(0, 2, long)]), Ok(vec![1]));
        assert_eq!(order(&[ruling(0, 1, long), ruling(0, 1, short)]), Ok(vec![1]));
        assert_eq!(order(&[ruling(7, 1, long), ruling(9, 2, short)]), Err(Contradiction { earlier: 7, later: 9 }));
        assert_eq!(order(&[ruling(7, 1, short), ruling(9, 2, short)]), Err(Contradiction { earlier: 7, later: 9 }));
    }

    #[test]
    fn what_always_holds_ends_the_list_and_what_never_does_is_left_out() {
        let rulings = [
            ruling(0, 1, &[(0, Operator::GreaterOrEqual, 0)]),
            ruling(0, 2, &[(0, Operator::Equal, 5)]),
            ruling(0, 3, &[(0, Operator::Less, 0)]),
        ];
        assert_eq!(order(&rulings), Ok(vec![2, 1]));
    }
}
