//! Video in and out: frames with their own timestamps, decoded and encoded by ffmpeg child processes.
