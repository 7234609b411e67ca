// SPDX-License-Identifier: BSD-2-Clause
// How many connections each address has. An IPv6 host owns a whole /64, so that is what is counted.
// A hash with a secret: clients choose their addresses. Fast WTD context.
#include "server/http_conn.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"

#define BUCKETS 4096

// At most one for each connection; http_connections= beyond a million is refused.
static struct pool addresses = POOL_INIT("http_address", struct http_address, 1000000);
static struct http_address *buckets[BUCKETS];
static uint64_t secret;

static struct http_address **bucket_of(const uint64_t key[2])
{
	if (!secret)
		secret = cpu_random() | 1;
	uint64_t hash = (key[0] ^ secret) * 0x9e3779b97f4a7c15UL;
	hash = (hash ^ (hash >> 29) ^ key[1]) * (secret | 1);
	return &buckets[hash >> 52];
}
_Static_assert(BUCKETS == 1 << (64 - 52), "the hash's top bits name a bucket");

static void make_key(const ip_addr_t *ip, uint64_t key[2])
{
	key[0] = 0;
	key[1] = IP_IS_V6(ip);
	if (IP_IS_V6(ip))
		memcpy(key, ip_2_ip6(ip)->addr, 8);
	else
		key[0] = ip_addr_get_ip4_u32(ip);
}

static struct http_address *find(struct http_address *a, const uint64_t key[2])
{
	while (a && (a->key[0] != key[0] || a->key[1] != key[1]))
		a = a->next;
	return a;
}

struct http_address *http_address_of(const ip_addr_t *ip)
{
	uint64_t key[2];

	make_key(ip, key);
	return find(*bucket_of(key), key);
}

struct http_address *http_address_get(const ip_addr_t *ip, enum http_refusal *why)
{
	struct http_address **bucket, *a;
	uint64_t key[2];

	make_key(ip, key);
	bucket = bucket_of(key);
	a = find(*bucket, key);
	if (a && http_config.per_address_max && a->count >= http_config.per_address_max) {
		*why = HTTP_REFUSED_ADDRESS;
		return NULL;
	}
	if (!a) {
		a = pool_alloc(&addresses);
		*why = HTTP_REFUSED_MEMORY;
		if (!a)
			return NULL;
		memcpy(a->key, key, sizeof(key));
		ipaddr_ntoa_r(ip, a->text, sizeof(a->text));
		a->next = *bucket;
		*bucket = a;
	}
	a->count++;
	return a;
}

void http_address_put(struct http_address *address)
{
	struct http_address **at = bucket_of(address->key);

	if (--address->count)
		return;
	while (*at != address)
		at = &(*at)->next;
	*at = address->next;
	pool_free(&addresses, address);
}
