/* An app in C: it registers, is woken by pushes that it reads from standard input, one a line, and
 * prints what the user sees. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "whisperpush.h"

static int show(void *context, const char *notification) {
	printf("show %s\n", notification);
	++*(int *)context;
	return 0;
}

static int removed(void *context, const char *id) {
	(void)context;
	printf("remove %s\n", id);
	return 0;
}

static int badge(void *context, int count) {
	(void)context;
	printf("badge %d\n", count);
	return 0;
}

static void check(const char *what, char *error) {
	if (error == NULL)
		return;
	fprintf(stderr, "%s: %s\n", what, error);
	wp_free(error);
	exit(1);
}

int main(int argc, char **argv) {
	int shows = 0;
	char *error = NULL, *answer, line[16384];
	wp_screen screen = {&shows, show, removed, badge};
	wp_phone *phone;

	if (argc != 3) {
		fprintf(stderr, "usage: app SETTINGS ROUTES\n");
		return 2;
	}
	if (wp_open("{}", &screen, &error) != NULL || error == NULL)
		return 3;
	wp_free(error);
	if (wp_open(argv[1], NULL, NULL) != NULL)
		return 4;
	phone = wp_open(argv[1], &screen, &error);
	check("open", error);
	answer = wp_call(phone, "register", argv[2], &error);
	check("register", error);
	printf("registered %s\n", answer);
	wp_free(answer);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin) != NULL) {
		answer = wp_receive(phone, "fcm", line, strcspn(line, "\n"), &error);
		check("receive", error);
		printf("received %s\n", answer);
		wp_free(answer);
		fflush(stdout);
	}
	answer = wp_call(phone, "me", NULL, &error);
	check("me", error);
	printf("me %s\n", answer);
	wp_free(answer);
	if (wp_call(phone, "nothing", "", &error) != NULL || error == NULL)
		return 5;
	wp_free(error);
	wp_close(phone, &error);
	check("close", error);
	if (wp_close(phone, &error) == 0 || error == NULL)
		return 6; /* it is gone */
	wp_free(error);
	return shows == 1 ? 0 : 7;
}
