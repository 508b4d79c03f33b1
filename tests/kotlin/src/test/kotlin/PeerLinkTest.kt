import java.nio.ByteBuffer
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import rosterkit.generated.Engine
import rosterkit.generated.EngineOptions
import rosterkit.generated.EventBody
import rosterkit.generated.Outgoing
import rosterkit.generated.ParcelContents
import rosterkit.generated.PeerLink
import rosterkit.generated.FinalOutcome
import rosterkit.generated.RosterKitException
import rosterkit.generated.SendOutcome
import rosterkit.generated.Settlement

private const val DAVE = "dave@example.net"

/** Bytes go in without being copied: as a socket channel reads them. */
private fun PeerLink.feed(bytes: ByteArray) = feed(ByteBuffer.allocateDirect(bytes.size).put(bytes).flip())

/** Carries what is to be carried, there and back, until nothing is. */
private fun carry(one: PeerLink, other: PeerLink) {
    do {
        val there = one.take(max = 65_536, timeoutMs = 0).also { if (it.isNotEmpty()) other.feed(it) }
        val back = other.take(max = 65_536, timeoutMs = 0).also { if (it.isNotEmpty()) one.feed(it) }
    } while (there.isNotEmpty() || back.isNotEmpty())
}

class PeerLinkTest {
    @Test fun `two engines are joined over a pipe of the host's`() = openVirtual().use { here ->
        Engine.openVirtual(null, EngineOptions(domains = listOf("example.net")), seed = 2, startMs = 0).use { there ->
            there.createAccount(DAVE)
            val (out, back) = here.openPeerLink(listOf("example.net")) to there.openPeerLink(listOf("example.org"))
            val (alice, dave) = here.openSession(ALICE) to there.openSession(DAVE)
            assertEquals(SendOutcome.QUEUED, alice.send(DAVE, "hello").outcome)
            out.connect()
            back.connect()
            carry(out, back)
            assertEquals(listOf("hello"), dave.rest().texts)
            val told = assertIs<EventBody.OutcomeTold>(alice.rest().single().body)
            assertEquals<FinalOutcome>(FinalOutcome.Relayed, told.outcome)
            assertEquals(listOf("example.net"), out.state().peerDomains)
            assertFailsWith<RosterKitException.InvalidArgument> { out.feed("GET /".repeat(10).encodeToByteArray()) }
            assertEquals(false, out.state().isConnected)
        }
    }

    @Test fun `a relay of the host's settles what it carries`() = openVirtual().use { engine ->
        assertFailsWith<RosterKitException.Unreachable> { engine.send(ALICE, DAVE, "hello") }
        val relay = engine.openRelay()
        val alice = engine.openSession(ALICE)
        alice.send(DAVE, "hello")
        relay.connect()
        val parcel = assertIs<Outgoing.ParcelReady>(relay.nextOutgoing(max = 10, timeoutMs = 0).single()).parcel
        val message = assertIs<ParcelContents.Messages>(parcel.contents).messages.single()
        relay.settle(message.deliveryId!!, Settlement.Failed("nobody lives there"))
        engine.advance(0)
        val told = assertIs<EventBody.OutcomeTold>(alice.rest().single().body)
        assertEquals("nobody lives there", assertIs<FinalOutcome.Failed>(told.outcome).reason)
        relay.shutdown()
    }
}
