//! How stories open that begin alike. The answers in them are expected as those of the story are.

/// The mainline gets a change once its candidate is built.
pub const AFTER_BUILD: &str = "
    settings after_build
";

/// The mainline gets a change once all targets run it.
pub const AFTER_ROLL: &str = "
    settings after_roll
";

/// The change `7` travels alone, in trip 1, and its candidate c1 is being built.
pub const SEVEN_IS_BUILT: &str = "
    queue 7
      `7` is checking, at place 1
      trip 1 (`7`) waits for company, or for what is before it
      trip 1 (`7`) has its candidate made
    made 1 m0 c1
      trip 1 (`7`) is built
";

/// It is good, and on the mainline.
pub const SEVEN_HAS_LANDED: &str = "
    builds 1
      trip 1 (`7`) goes through the further tests
    qualifies 1
      trip 1 (`7`) waits for its right of way
      trip 1 (`7`) lands on the mainline
    lands 1 c1
      trip 1 (`7`) starts its canary
";

/// It is good, and goes on by its right of way.
pub const SEVEN_IS_GOOD: &str = "
    builds 1
      trip 1 (`7`) goes through the further tests
    qualifies 1
      trip 1 (`7`) waits for its right of way
      trip 1 (`7`) starts its canary
";

/// Its canary is there, and nobody knows yet how it is.
pub const SEVEN_IS_A_CANARY: &str = "
    canary 1 unknown
      trip 1 (`7`) has a canary to look at
";

/// Its canary is there, and proved good.
pub const SEVEN_IS_PROVED: &str = "
    canary 1 proved
      trip 1 (`7`) has a canary to look at
";

/// A person calls it good, and it arrives.
pub const SEVEN_IS_EVERYWHERE: &str = "
    wait 6
    well 1
      trip 1 (`7`) goes on to all targets
    arrives 1
      trip 1 (`7`) runs everywhere and is watched
";

/// The change `8` comes after it, in trip 2, upon c1.
pub const EIGHT_IS_BUILT: &str = "
    queue 8
      `8` is checking, at place 1
      trip 2 (`8`) waits for company, or for what is before it
      trip 2 (`8`) has its candidate made
    made 2 c1 c2
      trip 2 (`8`) is built
";

/// It is good, and on the mainline.
pub const EIGHT_HAS_LANDED: &str = "
    builds 2
      trip 2 (`8`) goes through the further tests
    qualifies 2
      trip 2 (`8`) waits for its right of way
      trip 2 (`8`) lands on the mainline
    lands 2 c2
      trip 2 (`8`) starts its canary
";

/// Five changes come, and three trips are what there may be at once.
pub const FIVE_WAIT: &str = "
    queue 1 2 3 4 5
      `1` is checking, at place 1
      trip 1 (`1`) waits for company, or for what is before it
      trip 1 (`1`) has its candidate made
      `2` is checking, at place 1
      trip 2 (`2`) waits for company, or for what is before it
      `3` is checking, at place 1
      trip 3 (`3`) waits for company, or for what is before it
      `4` is checking, at place 1
      `4` is queued, at place 1
      `5` is checking, at place 2
      `5` is queued, at place 2
";
