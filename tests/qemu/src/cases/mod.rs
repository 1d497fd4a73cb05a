//! The list of tests, by what they are about.
mod attacks;
mod bad_input;
mod bad_layers;
mod binds;
mod conformance;
mod debian;
mod denials;
mod diff;
mod events;
mod families;
mod faults;
mod figures;
mod file_rules;
mod files;
mod folders;
mod forms;
mod host_side;
mod hostile;
mod images;
mod kernels;
mod layers;
mod learned;
mod life;
mod limits;
mod many;
mod network;
mod overlay;
mod policies;
mod programs;
mod real;
mod refusals;
mod rewrites;
mod streams;
mod taint;
mod terminal;

use crate::{Case, Setup};

/// All tests.
pub(crate) fn all(setup: &Setup) -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(kernels::cases(setup));
    all.extend(programs::cases());
    all.extend(policies::cases());
    all.extend(real::cases(setup));
    all.extend(families::cases());
    all.extend(attacks::cases());
    all.extend(many::cases());
    all.extend(conformance::cases(setup));
    all.extend(files::cases());
    all.extend(file_rules::cases());
    all.extend(taint::cases());
    all.extend(images::cases());
    all.extend(layers::cases());
    all.extend(bad_layers::cases());
    all.extend(debian::cases());
    all.extend(binds::cases());
    all.extend(folders::cases());
    all.extend(diff::cases());
    all.extend(overlay::cases());
    all.extend(streams::cases());
    all.extend(terminal::cases());
    all.extend(denials::cases());
    all.extend(rewrites::cases());
    all.extend(forms::cases());
    all.extend(network::cases());
    all.extend(life::cases());
    all.extend(limits::cases());
    all.extend(events::cases());
    all.extend(learned::cases());
    all.extend(bad_input::cases());
    all.extend(faults::cases());
    all.extend(hostile::cases());
    all.extend(refusals::cases());
    all.extend(figures::cases());
    all.extend(host_side::cases());
    all
}
