// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#define PAGEWIRE_VERSION "0.1"
