// SPDX-License-Identifier: BSD-2-Clause
#include "lwip/priv/tcp_priv.h"

tcpwnd_size_t tcp_cwnd_reduced(const struct tcp_pcb *pcb)
{
	uint32_t flight = pcb->snd_nxt - pcb->lastack;
	return MAX(flight / 2, 2U * pcb->mss);
}
