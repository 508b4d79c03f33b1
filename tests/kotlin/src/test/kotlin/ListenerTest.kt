import java.nio.file.Path
import java.util.concurrent.CompletableFuture
import java.util.concurrent.TimeUnit
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.jupiter.api.io.TempDir
import rosterkit.generated.CallbackException
import rosterkit.generated.EndReason
import rosterkit.generated.EventBody
import rosterkit.generated.RosterKitException
import rosterkit.generated.Session

/** What a listener may do to the engine, and what the engine makes of it. */
class ListenerTest {
    @TempDir lateinit var folder: Path

    @Test fun `what the listener says it failed at comes again`() = comesAgain { CallbackException.Failed("not now") }

    @Test fun `an exception in the listener`() = comesAgain { IllegalStateException("no") }

    /** Neither is an `Exception`: what catches only those would have acknowledged the event. */
    @Test fun `an error in the listener`() = comesAgain { AssertionError("no") }

    @Test fun `a throwable in the listener`() = comesAgain { object : Throwable("no") {} }

    private fun comesAgain(thrown: () -> Throwable) = openIn(folder).use { engine ->
        var times = 0
        val heard = Heard { if (++times == 1) throw thrown() }
        engine.openSession(BOB, listener = heard).use {
            engine.send(ALICE, BOB, "hello")
            val (first, again) = heard.nextMessage() to heard.nextMessage()
            assertEquals(first.id, again.id)
            engine.send(ALICE, BOB, "and on")
            assertEquals("and on", heard.nextMessage().text)
        }
    }

    @Test fun `a message that fails three times is parked`() = openIn(folder).use { engine ->
        val heard = Heard { if (it.body is EventBody.MessageReceived) error("never") }
        engine.openSession(BOB, listener = heard).use {
            engine.send(ALICE, BOB, "hello")
            val ids = List(3) { heard.nextMessage().id }
            assertEquals(1, ids.toSet().size)
            assertEquals(EventBody.MessageParked(ids.first()), heard.next().body)
        }
    }

    @Test fun `a listener calls the engine`() = openIn(folder).use { engine ->
        val bob = CompletableFuture<Session>()
        val refused = CompletableFuture<RosterKitException>()
        val answering = Heard { event ->
            val message = (event.body as? EventBody.MessageReceived)?.message ?: return@Heard
            bob.get(SECONDS, TimeUnit.SECONDS).send(message.sender, "yes, ${message.text}")
            refused.complete(assertFailsWith<RosterKitException.Misuse> { engine.shutdown(wait = true) })
        }
        bob.complete(engine.openSession(BOB, listener = answering))
        val alice = engine.openSession(ALICE)
        alice.send(BOB, "hello")
        assertEquals(listOf("yes, hello"), listOf(alice.next()).texts)
        assertTrue(refused.get(SECONDS, TimeUnit.SECONDS) is RosterKitException.Misuse)
    }

    @Test fun `a listener is told the end`() = openIn(folder).use { engine ->
        val heard = Heard()
        engine.openSession(BOB, listener = heard).use {
            engine.shutdown()
            assertEquals(EventBody.SessionEnded(EndReason.Shutdown), heard.next().body)
        }
    }
}
