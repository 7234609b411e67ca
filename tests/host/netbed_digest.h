// SPDX-License-Identifier: BSD-2-Clause
// What a connection of the test bed's did, in one number: two runs that should be alike are compared by it.
#pragma once

#include "netbed.h"

// Takes in the segments not looked at yet, what the callbacks were told, and the whole state of the pcb but what
// tells one connection from another. iss, irs: the first sequence numbers of either side. *seen: how far the
// server's data went, from iss.
void bed_fold(uint64_t *digest, const struct bed_peer *peer, uint32_t iss, uint32_t irs,
	      uint32_t *seen);
// Takes in a number; the whole state of a pcb, as bed_fold() does.
void bed_fold_value(uint64_t *digest, uint64_t value);
void bed_fold_state(uint64_t *digest, const struct tcp_pcb *pcb, uint32_t iss, uint32_t irs);
// What the handshake's time left in the pcb is not what is compared: takes it out.
void bed_fold_from_here(struct tcp_pcb *pcb);
// Numbers that both runs of a dialogue draw alike (xorshift): bed_dice() begins, bed_draw() is below `below`.
void bed_dice(uint64_t seed);
uint32_t bed_draw(uint32_t below);
// The end of a dialogue: the card does all that it was given, and keeps up from now on (bed_catch_up); then all of
// the bed's connections are gone (bed_dialogue_end).
void bed_catch_up(void);
void bed_dialogue_end(struct bed_peer *peer);
// Each of `count` dialogues once with *way as it is and once with the other: the test fails where the digests differ.
void bed_either_way(uint64_t (*dialogue)(uint64_t seed), unsigned count, bool *way);
// The same with the straight way and without. Returns by how much the counter `stat` rose.
uint64_t bed_both_ways(uint64_t (*dialogue)(uint64_t seed), unsigned count, const char *stat);
