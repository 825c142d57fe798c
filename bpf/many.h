/* SPDX-License-Identifier: GPL-2.0-only */
/* Arrays of structs in tables. */
#ifndef XDPLB_MANY_H
#define XDPLB_MANY_H

/* An array that BCC takes for a string of bytes, which it describes by its first element: for each element of
 * an array of structs it would generate code to print it, and the compiler take 15 s over these. (The sizes have
 * names because BCC describes whatever types a length mentions, too.)
 */
#define MANY(type, count) \
	{ \
		struct type first; \
		char all[(count)*type##_size]; \
	}
#define NTH(type, many, index) (&((struct type *)(many).all)[index])

#endif
