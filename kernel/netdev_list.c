// SPDX-License-Identifier: BSD-2-Clause
// The network cards there are, in the order in which their drivers found them. Written at boot by the
// boot thread only, read from any context afterwards: a card is linked in complete and never leaves.
#include "kernel/netdev.h"

static struct netdev *first, **last = &first;

void netdev_register(struct netdev *dev)
{
	dev->next = NULL;
	*last = dev;
	last = &dev->next;
}

struct netdev *netdev_first(void)
{
	return first;
}
