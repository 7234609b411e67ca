// SPDX-License-Identifier: BSD-2-Clause
// The stack on the machine's own card: addresses, timers, a connection through whatever network there
// is. Skipped where there is no card, no address or no gateway.
#include "kernel/copy.h"
#include "kernel/kstat.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/stack.h"

#define PATIENCE (60 * NS_PER_SEC)

static struct {
	volatile bool over;
	err_t err;
} attempt;

static void failed(void *arg, err_t err)
{
	attempt.err = err;
	attempt.over = true;
}

static err_t connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	attempt.err = ERR_OK;
	attempt.over = true;
	tcp_abort(pcb);
	return ERR_ABRT;
}

static bool wait_for_address(void)
{
	char text[48];

	for (uint64_t end = clock_ns() + PATIENCE; clock_ns() < end;) {
		struct iface *iface = iface_first();

		if (!iface)
			return false;
		if (stack_address_text(text, sizeof(text)) &&
		    !ip4_addr_isany(netif_ip4_gw(&iface->netif)))
			return true;
		thread_sleep_ns(50 * NS_PER_MS);
	}
	return false;
}

// QEMU's user network, or a router, answers on a closed port with a reset: a segment of ours went out
// with the checksums that the card made, and the answer came back through the receive ring.
KTEST("net", closed_port, "a-closed-port-of-the-gateway-resets")
{
	struct tcp_pcb *pcb;
	ip_addr_t gateway;

	if (!wait_for_address()) {
		ktest_skip("no IPv4 address and gateway");
		return;
	}
	attempt.over = false;
	wtd_disable();
	ip_addr_copy_from_ip4(gateway, *netif_ip4_gw(&iface_first()->netif));
	pcb = tcp_new_ip_type(IPADDR_TYPE_V4);
	EXPECT(pcb != NULL);
	tcp_err(pcb, failed);
	EXPECT_EQ(tcp_connect(pcb, &gateway, 9, connected), ERR_OK);
	stack_flush();
	wtd_enable();
	for (uint64_t end = clock_ns() + PATIENCE; !attempt.over && clock_ns() < end;)
		thread_sleep_ns(10 * NS_PER_MS);
	if (!attempt.over) {
		wtd_disable();
		tcp_abort(pcb);
		wtd_enable();
		ktest_skip("the gateway does not answer");
	} else {
		EXPECT(attempt.err == ERR_RST || attempt.err == ERR_OK);
	}
	thread_sleep_ns(500 * NS_PER_MS); // TCP's timer goes when it finds nothing to do
}

// The card's address of a header pbuf is memory that a device may be given.
KTEST("net", header_memory, "pbufs-are-contiguous-and-have-physical-addresses")
{
	for (uint16_t len = 1; len <= 1514; len += 97) {
		struct pbuf *p = pbuf_alloc(PBUF_RAW, len, PBUF_RAM);
		uint8_t *bytes;

		EXPECT(p != NULL);
		if (!p)
			return;
		bytes = p->payload;
		EXPECT_EQ(virt_to_phys(bytes + len - 1), virt_to_phys(bytes) + len - 1);
		pbuf_free(p);
	}
}

KTEST("net", timers, "lwip-timers-run-without-traffic")
{
	uint64_t before = kstat_get("pagewire_net_timer_runs_total", NULL);

	thread_sleep_ns(1200 * NS_PER_MS); // ARP's and ND's second
	EXPECT(kstat_get("pagewire_net_timer_runs_total", NULL) > before);
}
