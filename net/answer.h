// SPDX-License-Identifier: BSD-2-Clause
// Segments that are made as one object: a small answer, or a long piece of a file; its segment, its head, with room for
// all headers in front of it, and its first page or run of pages. Private to net/pagebuf.c and net/answer_now.c. Fast
// WTD context.
//
//     pool --new_answer, give_segment (pagebuf.c)--> queued --+--> under way --> freed as one or in parts
//        \----------------answer_now--------------------------+
#pragma once

#include "kernel/kstring.h"
#include "kernel/netdev.h"
#include "kernel/page.h"
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"

// lwIP moves the start of a PBUF_RAM's data within the object.
#define HEAD_MOST 512
#define HEAD_ROOM LWIP_MEM_ALIGN_SIZE(PBUF_TRANSPORT + LWIP_TCP_OPT_LEN_TS_OUT)
struct answer {
	uint64_t listed[2]; // by its pool while it is free: all the rest stays as it was
	struct page *made;  // all that answer_now makes with this page is there; null: it is not
	uint64_t name;	    // of the head that lies in bytes; 0: none that anybody knows
	uint16_t len;	    // of the segment as it was made; 0: a long piece
	uint16_t headers;   // bytes of all those with which it was made: they say of which family
	uint16_t shape;	    // TCP's length and flags, as they lie in it
	uint32_t parts;	    // of head, first and segment, those that somebody has
	uint32_t pages;	    // of a long piece
	struct page *page;  // the first's, one wire reference to each
	struct netfrag frags[2]; // what the card is told of it
	struct pbuf_custom first;
	struct tcp_seg segment;
	struct pbuf_custom head;
	uint8_t bytes[HEAD_ROOM +
		      HEAD_MOST]; // behind head: there lwIP looks for room in front of its data
};
extern struct pool answers;

extern uint64_t answer_page_bytes, answer_generated_bytes;
static inline void answer_count(uint32_t head, uint32_t pages)
{
	answer_generated_bytes += head;
	answer_page_bytes += pages;
}

void answer_head_free(struct pbuf *p), answer_first_free(struct pbuf *p);

// The head's bytes are those of that name, if it has one.
static inline void answer_put_head(struct answer *answer, const struct answer_head *head)
{
	if (head->name && answer->name == head->name)
		return;
	answer->name = head->name;
	memcpy(answer->bytes + HEAD_ROOM, head->bytes, head->len);
}

// What pbuf_alloced_custom does.
static inline struct pbuf *custom_pbuf(struct pbuf_custom *custom, pbuf_free_custom_fn release,
				       pbuf_type type, void *payload, uint16_t len)
{
	custom->custom_free_function = release;
	custom->pbuf = (struct pbuf){.payload = payload,
				     .tot_len = len,
				     .len = len,
				     .type_internal = (u8_t)type,
				     .flags = PBUF_FLAG_IS_CUSTOM,
				     .ref = 1,
				     .if_idx = NETIF_NO_INDEX};
	return &custom->pbuf;
}
