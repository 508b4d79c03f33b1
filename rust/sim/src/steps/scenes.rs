//! Which scenes there are. They cost more file calls than other steps do, and so are one step together.

use super::{Do, Random, amending, hands, marks, strangers, words};
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
