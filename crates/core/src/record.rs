//! What is stored: keys, their writers, format versions.
