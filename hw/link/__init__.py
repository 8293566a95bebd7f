"""The host link: frames in, frames out, and their checksum."""
