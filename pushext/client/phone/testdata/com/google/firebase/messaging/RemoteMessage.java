package com.google.firebase.messaging;

public abstract class RemoteMessage {
	public abstract java.util.Map<String, String> getData();
}
