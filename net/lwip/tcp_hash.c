// SPDX-License-Identifier: BSD-2-Clause
// The table of connections, see tcp_hash.h. Known to lwIP's own unit tests too: nothing of the kernel's
// here but LWIP_RAND.
#include "lwip/arch.h"
#include "lwip/opt.h"
#include "tcp_hash.h"

// Fast WTD context only, so no lock.
struct tcp_hash_node *tcp_hash_table[1U << TCP_HASH_BITS];
uint64_t tcp_hash_secret[TCP_HASH_WORDS + 1];
struct tcp_hash_node *tcp_hash_guesses[TCP_HASH_GUESSES];
static uint32_t counts[TCP_HASH_KINDS];
uint64_t tcp_hash_steps;

void tcp_hash_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(tcp_hash_secret); i++)
		tcp_hash_secret[i] = (uint64_t)LWIP_RAND() << 32 | LWIP_RAND();
}

uint32_t tcp_hash(const struct tcp_tuple *tuple)
{
	uint64_t sum =
	    tcp_hash_sum(tuple->local[0], tuple->remote[0], tuple->local_port, tuple->remote_port);

	if (tuple->ipv6)
		for (unsigned i = 1; i < 4; i++)
			sum += tcp_hash_secret[2 + 2 * i] * tuple->local[i] +
			       tcp_hash_secret[3 + 2 * i] * tuple->remote[i];
	return tcp_hash_mixed(sum);
}

void tcp_hash_add(struct tcp_hash_node *node, enum tcp_hash_kind kind, uint32_t hash)
{
	struct tcp_hash_node **head = tcp_hash_bucket(hash);

	*node = (struct tcp_hash_node){*head, head, hash, kind, 0};
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
	if (tcp_hash_guesses[node->guess] == node)
		tcp_hash_guesses[node->guess] = NULL;
	counts[node->kind]--;
}

struct tcp_hash_node *tcp_hash_find(uint32_t hash, const struct tcp_hash_node *after)
{
	struct tcp_hash_node *node = after ? after->next : *tcp_hash_bucket(hash);

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
