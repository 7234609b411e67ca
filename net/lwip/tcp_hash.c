// SPDX-License-Identifier: BSD-2-Clause
// The table of connections, see tcp_hash.h. Known to lwIP's own unit tests too: nothing of the kernel's
// here but LWIP_RAND.
#include "lwip/arch.h"
#include "lwip/opt.h"
#include "tcp_hash.h"

#define WORDS 9 // two addresses, and both ports in one

// Fast WTD context only, so no lock.
static struct tcp_hash_node *table[1U << TCP_HASH_BITS];
static uint32_t counts[TCP_HASH_KINDS];
static uint64_t secret[WORDS + 1];
uint64_t tcp_hash_steps;

void tcp_hash_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(secret); i++)
		secret[i] = (uint64_t)LWIP_RAND() << 32 | LWIP_RAND();
}

// Ports that count up make an arithmetic progression of sums, which some keys would put into few buckets:
// mixed once more, neighbours part (the multiplier is the golden ratio's, odd).
static inline uint32_t mixed(uint64_t sum)
{
	sum ^= sum >> 32;
	sum *= 0x9e3779b97f4a7c15ULL;
	sum ^= sum >> 29;
	sum *= secret[WORDS] | 1;
	return sum >> 32;
}

static inline uint64_t sum_of_first(uint32_t local, uint32_t remote, uint16_t local_port,
				    uint16_t remote_port)
{
	return secret[0] + secret[1] * ((uint32_t)local_port << 16 | remote_port) +
	       secret[2] * local + secret[3] * remote;
}

uint32_t tcp_hash_ip4(uint32_t local, uint32_t remote, uint16_t local_port, uint16_t remote_port)
{
	return mixed(sum_of_first(local, remote, local_port, remote_port));
}

uint32_t tcp_hash(const struct tcp_tuple *tuple)
{
	uint64_t sum =
	    sum_of_first(tuple->local[0], tuple->remote[0], tuple->local_port, tuple->remote_port);

	if (tuple->ipv6)
		for (unsigned i = 1; i < 4; i++)
			sum += secret[2 + 2 * i] * tuple->local[i] +
			       secret[3 + 2 * i] * tuple->remote[i];
	return mixed(sum);
}

// The upper bits: the lower ones of the product are the weaker ones.
static struct tcp_hash_node **bucket(uint32_t hash)
{
	return &table[hash >> (32 - TCP_HASH_BITS)];
}

void tcp_hash_add(struct tcp_hash_node *node, enum tcp_hash_kind kind, uint32_t hash)
{
	struct tcp_hash_node **head = bucket(hash);

	*node = (struct tcp_hash_node){*head, head, hash, kind};
	if (*head)
		(*head)->link = &node->next;
	*head = node;
	counts[kind]++;
}

void tcp_hash_remove(struct tcp_hash_node *node)
{
	if (!node->link)
		return;
	*node->link = node->next;
	if (node->next)
		node->next->link = node->link;
	node->link = NULL;
	counts[node->kind]--;
}

struct tcp_hash_node *tcp_hash_find(uint32_t hash, const struct tcp_hash_node *after)
{
	struct tcp_hash_node *node = after ? after->next : *bucket(hash);

	for (; node; node = node->next) {
		tcp_hash_steps++;
		if (node->hash == hash)
			return node;
	}
	return NULL;
}

uint32_t tcp_hash_count(enum tcp_hash_kind kind)
{
	return counts[kind];
}
