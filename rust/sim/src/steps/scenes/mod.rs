//! Which scenes there are. They cost more file calls than other steps do, and so are one step together.

mod aging;
mod amending;
mod bounds;
mod cabinet;
mod deciding;
mod documents;
mod endings;
mod hands;
mod marks;
mod moving;
mod outside;
mod scene;
mod sending_on;
mod strangers;
mod words;

use super::{Do, Random};
use crate::world::{Step, World};

/// How often, what it is called, and what it does.
const SCENES: &[(u32, &str, Do)] = &[
    (2, "words", words::words),
    (1, "hands", hands::hands),
    (1, "park", hands::park),
    (1, "retire a device", hands::retire),
    (2, "marks", marks::marks),
    (2, "strangers", strangers::strangers),
    (2, "amend and tell", amending::amending),
    (4, "rules decide", deciding::deciding),
    (2, "rules are written", documents::documents),
    (2, "rules look later", sending_on::later),
    (1, "rules when nobody answers", sending_on::unanswered),
    (1, "rules in a circle", sending_on::loops),
    (1, "rules send back", sending_on::back),
    (2, "expire", aging::expire),
    (1, "keep some", aging::keep),
    (1, "keep nothing", aging::keep_nothing),
    (1, "by time", aging::by_time),
    (1, "put off", outside::put_off),
    (1, "goes out", outside::goes_out),
    (2, "comes in", outside::comes_in),
    (1, "too fast", bounds::rate),
    (1, "too much waits", bounds::unclaimed),
    (1, "too much under way", bounds::in_flight),
    (1, "shut down", endings::shut_down),
    (1, "quota", cabinet::quota),
    (1, "avatar", cabinet::avatar),
    (1, "rendered", cabinet::rendered),
    (1, "moving", moving::moving),
];

/// One of them.
pub(super) fn any(world: &mut World, machine: usize, random: &mut Random) -> Step {
    let total: u32 = SCENES.iter().map(|scene| scene.0).sum();
    let mut at = random.u32(..total);
    for (weight, name, scene) in SCENES {
        if at < *weight {
            world.history.say(format_args!("-- a scene: {name}"));
            *world.report.mix.entry(format!("scene: {name}")).or_default() += 1;
            return scene(world, machine, random);
        }
        at -= weight;
    }
    Ok(())
}
