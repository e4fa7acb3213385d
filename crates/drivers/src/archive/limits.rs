//! What an archive may do at most.

/// What an archive may do at most, and who gets its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most files, folders and links, folders that stand in no entry included.
    pub entries_max: u64,
    /// The most bytes of all files and headers together.
    pub bytes_max: u64,
    /// The most unpacked bytes for each packed byte…
    pub ratio_max: u64,
    /// …once there are more than this many unpacked bytes.
    pub ratio_floor_bytes: u64,
    /// Who owns what is unpacked; ourselves when absent. Needs root.
    pub owner: Option<Owner>,
}

impl Default for Limits {
    /// Returns 200,000 entries, 8 GiB, 200 bytes for one beyond 256 MiB, our own files.
    fn default() -> Self {
        Self {
            entries_max: 200_000,
            bytes_max: 8 << 30,
            ratio_max: 200,
            ratio_floor_bytes: 256 << 20,
            owner: None,
        }
    }
}

/// A file's owner by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    pub(super) fn uid(self) -> rustix::fs::Uid {
        rustix::fs::Uid::from_raw(self.uid)
    }

    pub(super) fn gid(self) -> rustix::fs::Gid {
        rustix::fs::Gid::from_raw(self.gid)
    }
}
