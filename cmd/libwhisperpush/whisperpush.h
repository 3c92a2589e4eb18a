/* The SDK of the push-notification mailserver for C, and whatever calls C.
 *
 *	wp_phone *phone = wp_open(settings, &screen, &error);
 *	char *answer = wp_receive(phone, "fcm", data, length, &error);
 *	...
 *	wp_free(answer);
 *	wp_close(phone, &error);
 *
 * Texts are UTF-8 and end with a zero byte; settings, arguments and answers are JSON, and
 * docs/bindings.md has all of them. Every text that a function returns, and every error, belongs
 * to the caller, who gives it to wp_free. An error is a sentence for people; it is NULL, and so
 * may be the place for it. Functions may be called from any thread. */
#ifndef WHISPERPUSH_H
#define WHISPERPUSH_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* wp_screen is the platform's notifications. Its functions are called one at a time, from threads of
 * the library, and must not call it. They return 0, and anything else to be called again at the
 * next occasion. What they are given is good until they return. */
typedef struct wp_screen {
	void *context;
	int (*show)(void *context, const char *notification); /* in the place of the one with the same id */
	int (*remove)(void *context, const char *id);
	int (*set_badge)(void *context, int count);
} wp_screen;

/* wp_phone is an app's device and inbox. */
typedef struct wp_phone wp_phone;

#ifndef WHISPERPUSH_TYPES_ONLY /* Go, which has these functions, writes const otherwise */

/* wp_open opens the account in a directory, or begins one. It returns NULL with an error. The screen is
 * copied; its context must live until wp_close. */
wp_phone *wp_open(const char *settings, const wp_screen *screen, char **error);

/* wp_call makes a call, and returns its answer, or NULL with an error. */
char *wp_call(wp_phone *phone, const char *name, const char *arguments, char **error);

/* wp_receive handles what a push service handed to the app. It may return an answer and an error:
 * then the answer has what was shown before. */
char *wp_receive(wp_phone *phone, const char *platform, const void *push, size_t length, char **error);

/* wp_act carries out what the user chose on a notification while no phone is open. It returns 0, or
 * another number with an error. */
int wp_act(const char *directory, const char *action, char **error);

/* wp_close ends what is under way. The phone is gone after it, whatever it returns. */
int wp_close(wp_phone *phone, char **error);

void wp_free(char *text);

#endif

#ifdef __cplusplus
}
#endif

#endif
