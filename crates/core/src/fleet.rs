//! Which hosts run which apps, and what each target must run now.
