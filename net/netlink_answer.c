// SPDX-License-Identifier: BSD-2-Clause
// Answers of netlink sockets (net/netlink.h): packets of whole messages, written from front to back.
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "net/netlink.h"

// Of 64 sockets that nobody reads; questions that are being answered are of them, too.
static struct pool packet_pool =
    POOL_INIT_RAW("netlink packet", struct netlink_packet, 64 * NETLINK_WAITING_MOST);

// ---- packets ----

static const void *packet_piece(const struct message *m, uint32_t offset, uint32_t *bytes)
{
	*bytes = m->bytes - offset;
	return CONTAINER_OF(m, const struct netlink_packet, message)->bytes + offset;
}

static void packet_free(struct message *m)
{
	pool_free(&packet_pool, CONTAINER_OF(m, struct netlink_packet, message));
}

static const struct message_kind packet_kind = {.piece = packet_piece, .free = packet_free};

struct netlink_packet *netlink_packet_new(void)
{
	struct netlink_packet *p = pool_alloc(&packet_pool);

	if (p) {
		p->message =
		    (struct message){.kind = &packet_kind, .cost = sizeof(struct netlink_packet)};
		p->next = NULL;
	}
	return p;
}

void netlink_drop(struct netlink_answer *a)
{
	for (struct netlink_packet *p = a->first, *next; p; p = next) {
		next = p->next;
		packet_free(&p->message);
	}
}

// ---- writing an answer ----

// That many bytes behind what the last packet has, all 0. They were asked for with netlink_begin.
static void *extend(struct netlink_answer *a, uint32_t bytes)
{
	struct message *m = &a->last->message;
	void *at = a->last->bytes + m->bytes;

	ASSERT(m->bytes + ALIGN_UP(bytes, NLM_ALIGN) <= NETLINK_ROOM);
	memset(at, 0, ALIGN_UP(bytes, NLM_ALIGN));
	m->bytes += ALIGN_UP(bytes, NLM_ALIGN);
	return at;
}

void *netlink_begin(struct netlink_answer *a, uint16_t type, uint32_t body, uint32_t most)
{
	struct netlink_packet *p = a->last;

	a->now = NULL;
	if (!a->failed && (!p || p->message.bytes + most > NETLINK_ROOM)) {
		p = netlink_packet_new();
		a->failed = !p;
		if (p) {
			*(a->last ? &a->last->next : &a->first) = p;
			a->last = p;
			a->packets++;
		}
	}
	if (a->failed)
		return NULL;
	a->now = extend(a, sizeof(*a->now) + body);
	*a->now = (struct netlink_header){.len = (uint32_t)sizeof(*a->now) + body,
					  .type = type,
					  .flags = a->flags,
					  .sequence = a->sequence,
					  .port = a->port};
	return a->now + 1;
}

void netlink_put(struct netlink_answer *a, uint16_t type, const void *data, uint32_t bytes)
{
	struct netlink_attribute *attribute;

	if (!a->now)
		return;
	attribute = extend(a, (uint32_t)sizeof(*attribute) + bytes);
	attribute->len = (uint16_t)(sizeof(*attribute) + bytes);
	attribute->type = type;
	memcpy(attribute + 1, data, bytes);
	a->now->len += (uint32_t)ALIGN_UP(attribute->len, NLM_ALIGN);
}

void netlink_error(struct netlink_answer *a, const struct netlink_header *question, int error,
		   bool capped)
{
	uint32_t again = capped || !error ? (uint32_t)sizeof(*question) : question->len;
	int32_t *body;

	a->flags = again < question->len ? NLM_CAPPED : 0;
	body = netlink_begin(a, NLMSG_ERROR, (uint32_t)sizeof(*body) + again, NETLINK_ROOM);
	if (body) {
		*body = error;
		memcpy(body + 1, question, again);
	}
}
