// SPDX-License-Identifier: BSD-2-Clause
// What the parts of the system-call fuzzer share: fuzz.c (children and threads), fuzz_table.c (which calls),
// fuzz_calls.c (with which arguments), fuzz_odd.c (what is no plain call: forks, signal frames, foreign instructions).
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>

struct fuzz {
	uint64_t state;
	unsigned thread; // 0, 1
};

#define ARENA_PAGES 16
struct fuzz_arena { // shared memory, for what calls read and write
	uint32_t last[2];
	char room[ARENA_PAGES * 4096];
};
extern struct fuzz_arena *arena;

struct fuzz_call {
	long number;
	const char *arguments;
};
extern const struct fuzz_call fuzz_calls[];
extern const unsigned fuzz_call_count;

uint64_t fuzz_random(struct fuzz *f);
uint64_t fuzz_below(struct fuzz *f, uint64_t n);
uint64_t fuzz_argument(struct fuzz *f, char letter);
void fuzz_fill(struct fuzz *f); // the arena, with things that calls may take for structures
void fuzz_odd(struct fuzz *f);
void fuzz_leaf(struct fuzz *f) __attribute__((noreturn));
