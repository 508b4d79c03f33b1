import java.nio.file.Path
import kotlin.io.path.readBytes
import kotlin.io.path.writeBytes
import kotlin.test.Test
import kotlin.test.assertContains
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import org.junit.jupiter.api.io.TempDir
import rosterkit.generated.Engine
import rosterkit.generated.EngineOptions
import rosterkit.generated.LimitOptions
import rosterkit.generated.PresenceState
import rosterkit.generated.PresenceUpdate
import rosterkit.generated.RosterKitException

/** Every kind of error is raised, and its text is read. */
class ErrorsTest {
    @TempDir lateinit var folder: Path

    @Test fun `an invalid argument`() = openVirtual().use { engine ->
        assertContains(assertFailsWith<RosterKitException.InvalidArgument> { engine.createAccount("example.org") }.details, "user@domain")
        val alice = engine.openSession(ALICE)
        val presence = PresenceUpdate(PresenceState.ONLINE, priority = 1000)
        assertContains(assertFailsWith<RosterKitException.InvalidArgument> { alice.setPresence(presence) }.details, "cannot be 1000")
    }

    @Test fun `not found`() = openVirtual().use { engine ->
        val error = assertFailsWith<RosterKitException.NotFound> { engine.send(ALICE, "nobody@example.org", "hello") }
        assertContains(error.details, "nobody@example.org")
        assertContains(error.message, error.details)
    }

    @Test fun forbidden() = openVirtual().use { engine ->
        engine.openSession(BOB).block(ALICE)
        val error = assertFailsWith<RosterKitException.Forbidden> { engine.send(ALICE, BOB, "hello") }
        assertContains(error.details, "does not accept")
    }

    @Test fun `a limit is exceeded`() {
        openVirtual(LimitOptions(sendBurst = 1, sendsPerMinute = 60, messageBytes = 10)).use { engine ->
            val size = assertFailsWith<RosterKitException.LimitExceeded> { engine.send(ALICE, BOB, "x".repeat(11)) }
            assertContains(size.details, "11 bytes")
            assertNull(size.retryAfterMs)
            engine.send(ALICE, BOB, "one")
            val rate = assertFailsWith<RosterKitException.LimitExceeded> { engine.send(ALICE, BOB, "two") }
            engine.advance(assertNotNull(rate.retryAfterMs))
            engine.send(ALICE, BOB, "two")
        }
    }

    @Test fun `a conflict`() = openIn(folder).use { engine ->
        assertContains(assertFailsWith<RosterKitException.Conflict> { engine.createAccount(ALICE) }.details, "exists")
        // Somebody has the file already.
        assertFailsWith<RosterKitException.Conflict> { openIn(folder) }
        Unit
    }

    @Test fun unreachable() = openVirtual().use { engine ->
        val error = assertFailsWith<RosterKitException.Unreachable> { engine.send(ALICE, "bob@elsewhere.example", "hello") }
        assertContains(error.details, "elsewhere.example")
    }

    @Test fun storage() {
        val broken = folder.resolve("im.db")
        val content = "this is no database".repeat(1000).toByteArray()
        broken.writeBytes(content)
        val options = EngineOptions(domains = listOf("example.org"))
        val error = assertFailsWith<RosterKitException.Storage> { Engine.openFile(broken.toString(), options) }
        assertEquals(true to false, error.details.isNotEmpty() to error.outcomeUnknown)
        assertContentEquals(content, broken.readBytes())
    }

    @Test fun damaged() {
        // The second opening moves what the first wrote out of the write-ahead log.
        repeat(2) { openIn(folder).use { it.shutdown() } }
        val file = folder.resolve("im.db")
        val content = file.readBytes()
        content[200] = content[200].inc()
        file.writeBytes(content)
        assertContains(assertFailsWith<RosterKitException.Damaged> { openIn(folder) }.details, "page 1 ")
    }

    @Test fun `after shutdown everything is closed, and the file is free`() {
        val engine = openIn(folder)
        val alice = engine.openSession(ALICE)
        engine.shutdown()
        engine.shutdown()
        engine.shutdown(wait = false)
        for (call in listOf({ engine.createAccount("dave@example.org") }, { alice.send(BOB, "hello") }, { alice.roster() })) {
            assertContains(assertFailsWith<RosterKitException.Closed> { call() }.details, "shut down")
        }
        openIn(folder).close()
        alice.close()
        engine.close()
    }

    @Test fun misuse() = openIn(folder).use { engine ->
        assertContains(assertFailsWith<RosterKitException.Misuse> { engine.advance(1) }.details, "virtual")
    }

    @Test fun `a panic inside the library`() = openVirtual().use { engine ->
        assertNull(engine.failure())
        assertContains(assertFailsWith<RosterKitException.Internal> { engine.panicForTest("as planned") }.details, "as planned")
        assertContains(assertFailsWith<RosterKitException.Internal> { engine.domains() }.details, "takes no more work")
        assertEquals("as planned", engine.failure())
    }
}
