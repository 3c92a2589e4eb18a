package android.content;

/** What the library and docs/android.md need of Android, to compile them without it. */
public class Context {
	public static final String NOTIFICATION_SERVICE = "notification";

	public Context getApplicationContext() { return this; }

	public java.io.File getNoBackupFilesDir() { return null; }

	public Object getSystemService(String name) { return null; }
}
