import java.nio.ByteBuffer
import java.nio.file.Path
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertIs
import org.junit.jupiter.api.io.TempDir
import rosterkit.generated.Answer
import rosterkit.generated.BuddyStatus
import rosterkit.generated.Command
import rosterkit.generated.EndReason
import rosterkit.generated.Event
import rosterkit.generated.EventBatch
import rosterkit.generated.EventBody
import rosterkit.generated.FfiConverterTypeEventBatch
import rosterkit.generated.HistoryRequest
import rosterkit.generated.MessageBody
import rosterkit.generated.PresenceState
import rosterkit.generated.PresenceUpdate
import rosterkit.generated.RosterKitException
import rosterkit.generated.SendOptions
import rosterkit.generated.SendOutcome
import rosterkit.generated.SessionOptions
import rosterkit.generated.SubmittedCommand

/** Messages, rosters and presence, pushed, pulled and by ticket. */
class ConversationTest {
    @TempDir lateinit var folder: Path

    @Test fun `a message comes by callback`() = openIn(folder).use { engine ->
        val heard = Heard()
        engine.openSession(BOB, listener = heard).use {
            val alice = engine.openSession(ALICE)
            val receipt = alice.send(BOB, "grüß dich 👋", SendOptions(extensions = byteArrayOf(0, -1)))
            val message = heard.nextMessage()
            // They are no buddies: she is not told that he is there.
            assertEquals(SendOutcome.STORED, receipt.outcome)
            assertEquals(receipt.messageId, message.id)
            assertEquals("grüß dich 👋", message.text)
            assertContentEquals(byteArrayOf(0, -1), message.extensions)
            assertEquals(listOf(message.id), alice.history(HistoryRequest(peer = BOB)).messages.map { it.id })
        }
    }

    @Test fun `a message is pulled, and comes again until it is acknowledged`() = openIn(folder).use { engine ->
        engine.send(ALICE, BOB, "one")
        engine.send(ALICE, BOB, "two")
        val first = engine.openSession(BOB)
        val one = first.next()
        assertEquals(listOf("one"), listOf(one).texts)
        first.ack(one.seq)
        first.ack(one.seq)
        assertEquals(listOf("two"), listOf(first.next()).texts)
        first.shutdown()
        assertEquals(EventBody.SessionEnded(EndReason.Requested), first.next().body)

        val second = engine.openSession(BOB)
        val two = second.next()
        assertEquals(listOf("two"), listOf(two).texts)
        second.ack(two.seq)
        second.shutdown()
        assertEquals(emptyList(), engine.openSession(BOB).rest())
    }

    @Test fun `what was not acknowledged is there after a restart`() {
        openIn(folder).use { engine ->
            engine.send(ALICE, BOB, "hello")
            assertEquals(listOf("hello"), listOf(engine.openSession(BOB).next()).texts)
            engine.shutdown()
        }
        openIn(folder).use { engine -> assertEquals(listOf("hello"), listOf(engine.openSession(BOB).next()).texts) }
    }

    @Test fun `data is sent from a direct buffer`() = openVirtual().use { engine ->
        val bytes = ByteBuffer.allocateDirect(3).put(byteArrayOf(1, 0, -1)).flip()
        val bob = engine.openSession(BOB)
        engine.openSession(ALICE).sendData(BOB, "image/png", bytes)
        val body = assertIs<EventBody.MessageReceived>(bob.rest().single().body).message.body
        assertEquals("image/png", assertIs<MessageBody.Data>(body).mediaType)
        assertContentEquals(byteArrayOf(1, 0, -1), body.bytes)
    }

    @Test fun `two people become buddies and see each other`() = openVirtual().use { engine ->
        val (alice, bob) = engine.openSession(ALICE) to engine.openSession(BOB)
        alice.addBuddy(BOB, name = "Bob", groups = listOf("Friends"))
        assertEquals(ALICE, bob.rest().firstNotNullOf { it.body as? EventBody.BuddyRequested }.sender)
        bob.confirmBuddy(ALICE)
        bob.setPresence(PresenceUpdate(PresenceState.ON_PHONE, note = "a call"))
        alice.setPresence(PresenceUpdate(PresenceState.ONLINE))
        val shown = alice.rest().mapNotNull { it.body as? EventBody.PresenceChanged }.first { it.subject == BOB }
        assertEquals(PresenceState.ON_PHONE to "a call", shown.presence.state to shown.presence.note)
        val buddy = alice.roster().buddies.single()
        assertEquals(Triple("Bob", listOf("Friends"), BuddyStatus.CONFIRMED), Triple(buddy.name, buddy.groups, buddy.status))
        assertEquals(SendOutcome.DELIVERED, alice.send(BOB, "hello").outcome)
    }

    @Test fun `a thousand sends are in flight from one thread`() = openIn(folder).use { engine ->
        val sends = List(1024) { SubmittedCommand(ALICE, command = Command.SendText(BOB, "message $it", SendOptions())) }
        val tickets = engine.submit(sends)
        assertEquals(sends.size, tickets.size)
        val positions = mutableMapOf<Long, Long>()
        while (positions.size < tickets.size) {
            val answers = engine.nextAnswers(max = 100, timeoutMs = SECONDS * 1000)
            check(answers.isNotEmpty()) { "${positions.size} answers came" }
            answers.forEach { positions[it.ticket] = assertIs<Answer.Sent>(it.answer).receipt.position }
        }
        assertEquals(tickets, tickets.sortedBy(positions::getValue))
    }

    @Test fun `a refused command is answered with its error`() = openVirtual().use { engine ->
        val refused = Command.SendText("nobody@example.org", "hello", SendOptions())
        val ticket = engine.submit(listOf(SubmittedCommand(ALICE, command = refused))).single()
        val answered = engine.nextAnswers(max = 10, timeoutMs = 0).single()
        assertEquals(ticket, answered.ticket)
        val error = assertIs<RosterKitException.NotFound>(assertIs<Answer.Failed>(answered.answer).error)
        assertEquals(true, "nobody@example.org" in error.details)
    }

    @Test fun `a server reads its sessions in one place`() = openVirtual().use { engine ->
        val sessions = listOf(ALICE, BOB).map { engine.openSession(it, SessionOptions(readThroughEngine = true)) }
        engine.send(CAROL, ALICE, "to alice")
        engine.send(CAROL, BOB, "to bob")
        val batches = engine.nextBatches(maxEvents = 10, maxBytes = 65_536, timeoutMs = 0)
        val texts = batches.associate { it.sessionId to it.events.texts }
        assertEquals(sessions.map { it.sessionId() }.zip(listOf(listOf("to alice"), listOf("to bob"))).toMap(), texts)
        batches.forEach { engine.ack(it.sessionId, it.events.last().seq) }
        sessions.forEach { it.shutdown() }
        assertEquals(emptyList(), engine.openSession(BOB).rest())
    }

    @Test fun `an event of a kind that is not known here is another`() {
        val unknown = Event(seq = 7, body = EventBody.Other(kind = "weather", json = """{"sky": "clear"}"""))
        val batch = EventBatch(sessionId = 1, events = listOf(unknown))
        val arrived = FfiConverterTypeEventBatch.lift(FfiConverterTypeEventBatch.lower(batch)).events.single()
        // Written so, an app compiles also when there are more cases.
        val told = when (val body = arrived.body) {
            is EventBody.MessageReceived -> "a message"
            is EventBody.Other -> "${body.kind} ${body.json}"
            else -> "something else"
        }
        assertEquals("""weather {"sky": "clear"}""", told)
    }
}
