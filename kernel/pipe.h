// SPDX-License-Identifier: BSD-2-Clause
// Pipes: bytes from a writer to a reader, in order, through a ring of PIPE_BYTES. A write of up to PIPE_BUF bytes is in
// one piece. The high-water mark is a full ring; a writer that waits is told when PIPE_BUF bytes are free.
#pragma once

#include "kernel/stream.h"

#define PIPE_BYTES 65536
#define PIPE_BUF   4096

int pipe_make(struct stream *ends[2],
	      unsigned flags) MUST_CHECK; // reading, writing end; 0 or -ENOMEM
