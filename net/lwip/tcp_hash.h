// SPDX-License-Identifier: BSD-2-Clause
// The table in which a segment finds its connection: a seeded hash over addresses and ports. What lies
// in it embeds a struct tcp_hash_node. Stage 4 of the read path; fast WTD context.
//
// The hash is multilinear (Lemire and Kaser, "Strongly universal string hashing is fast", 2013): each
// 32-bit word of the tuple times a secret 64-bit number, the upper half of the sum. For peers who do not
// know the secret, any two tuples share a bucket with the probability of chance; so they cannot choose
// tuples that make a chain long.
//
// Included by lwIP's tcp.h: no lwIP types here.
#pragma once

#include "kernel/base.h"

// 20,000 connections and as many in TIME_WAIT: two or three to a bucket.
#define TCP_HASH_BITS 14

enum tcp_hash_kind {
	TCP_HASH_PCB,	 // struct tcp_pcb in tcp_active_pcbs
	TCP_HASH_PCB_TW, // struct tcp_pcb in tcp_tw_pcbs
	TCP_HASH_SYN,	 // struct tcp_syn
	TCP_HASH_TW,	 // struct tcp_tw
	TCP_HASH_PARKED, // tcp_park.c's
	TCP_HASH_KINDS,
};

struct tcp_hash_node {
	struct tcp_hash_node *next, **link; // link: what points here; null: not in the table
	uint32_t hash;
	uint8_t kind;
	uint16_t guess; // where it may be in tcp_hash_guesses
};

// Addresses as IPv6 (IPv4: the first word, the others zero), network byte order; ports in host order.
struct tcp_tuple {
	uint32_t local[4], remote[4];
	uint16_t local_port, remote_port;
	uint16_t ipv6; // 0: IPv4; else 1 + the zone of the remote address
};

// What lies in the table and is no PCB begins with this.
struct tcp_tuple_node {
	struct tcp_hash_node node;
	struct tcp_tuple tuple;
};

static inline bool tcp_tuple_is(const struct tcp_hash_node *node, const struct tcp_tuple *tuple)
{
	return !__builtin_memcmp(&((const struct tcp_tuple_node *)node)->tuple, tuple,
				 sizeof(*tuple));
}

// New secrets; the table must be empty. Start.
void tcp_hash_init(void);
uint32_t tcp_hash(const struct tcp_tuple *tuple);
// The node enters the table, or leaves it (nothing happens when it is not in it).
void tcp_hash_add(struct tcp_hash_node *node, enum tcp_hash_kind kind, uint32_t hash);
void tcp_hash_remove(struct tcp_hash_node *node);
// The first node with that hash, from `after` on (null: from the start), or null. The caller compares.
struct tcp_hash_node *tcp_hash_find(uint32_t hash, const struct tcp_hash_node *after);
// How many nodes of that kind there are.
uint32_t tcp_hash_count(enum tcp_hash_kind kind);
// Nodes that tcp_hash_find has looked at so far.
extern uint64_t tcp_hash_steps;

// ---- inline, for what happens a million times; the table and the secrets are tcp_hash.c's -------------

#define TCP_HASH_WORDS 9 // two addresses, and both ports in one
extern struct tcp_hash_node *tcp_hash_table[1U << TCP_HASH_BITS];
extern uint64_t tcp_hash_secret[TCP_HASH_WORDS + 1];

static inline uint64_t tcp_hash_sum(uint32_t local, uint32_t remote, uint16_t local_port,
				    uint16_t remote_port)
{
	return tcp_hash_secret[0] +
	       tcp_hash_secret[1] * ((uint32_t)local_port << 16 | remote_port) +
	       tcp_hash_secret[2] * local + tcp_hash_secret[3] * remote;
}

// Ports that count up make an arithmetic progression of sums, which some keys would put into few buckets:
// mixed once more, neighbours part (the multiplier is the golden ratio's, odd).
static inline uint32_t tcp_hash_mixed(uint64_t sum)
{
	sum ^= sum >> 32;
	sum *= 0x9e3779b97f4a7c15ULL;
	sum ^= sum >> 29;
	sum *= tcp_hash_secret[TCP_HASH_WORDS] | 1;
	return sum >> 32;
}

// tcp_hash of an IPv4 tuple, in pieces.
static inline uint32_t tcp_hash_ip4(uint32_t local, uint32_t remote, uint16_t local_port,
				    uint16_t remote_port)
{
	return tcp_hash_mixed(tcp_hash_sum(local, remote, local_port, remote_port));
}

// The upper bits: the lower ones of the product are the weaker ones.
static inline struct tcp_hash_node **tcp_hash_bucket(uint32_t hash)
{
	return &tcp_hash_table[hash >> (32 - TCP_HASH_BITS)];
}

// The connections that segments were last found for, by the lower bits of the peer's port: a look there comes before
// the hash, and is right for all but the few whose ports share them. Nothing depends on it.
#define TCP_HASH_GUESSES 4096
extern struct tcp_hash_node *tcp_hash_guesses[TCP_HASH_GUESSES];

static inline void tcp_hash_guess_next(struct tcp_hash_node *node, uint16_t guess)
{
	node->guess = guess;
	tcp_hash_guesses[guess] = node;
}
